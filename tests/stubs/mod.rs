//! The stand-ins of the development world behave as what they stand for.

mod crm;
