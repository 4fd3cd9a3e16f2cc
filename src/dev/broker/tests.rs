//! The pure parts, and every version of every request.
