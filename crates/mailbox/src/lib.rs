//! The delivery rules for one user agent, as a state machine without IO.
