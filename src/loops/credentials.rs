//! How to say to a server outside the cluster who asks or writes.

use std::fmt;

/// How to say who asks or writes. What is secret in it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The server does not ask.
    None,
    /// A user and a password.
    Password(String, String),
    /// A token.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(..) => "Password",
            Self::Token(_) => "Token",
        })
    }
}
