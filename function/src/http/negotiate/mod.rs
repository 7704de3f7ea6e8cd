//! Content negotiation and parameters: `Content-Type`, `Accept`, the query.

mod accept;
mod content;
mod query;

pub use self::accept::{exposition, picture};
pub use self::content::{Content, check_compression, content};
pub use self::query::{bit_depth, thresholds};

#[cfg(test)]
pub(super) use self::content::registered_image_types;
pub(super) use self::content::{announced, check_coding, check_image_type, image};
