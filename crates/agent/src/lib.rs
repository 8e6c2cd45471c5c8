//! Role 2 of Web Push: the user agent: subscribe, receive, decrypt, acknowledge.
