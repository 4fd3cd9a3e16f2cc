//! The development world: stand-ins for what Headwater talks to, and made-up traffic. Only `cli/dev` and tests use it.
