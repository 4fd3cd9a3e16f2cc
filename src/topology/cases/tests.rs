//! Test files: what is read, and what each fault is called.
