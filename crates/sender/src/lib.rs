//! Role 3 of Web Push: the application server: encrypt, sign, send, retry.
