//! A small model against what PyTorch says of it, and the way to it under load.
