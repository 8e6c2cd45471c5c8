//! Role 1 of Web Push: the push service.
