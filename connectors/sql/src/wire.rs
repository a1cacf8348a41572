//! What readers of a server's own protocol share: bytes come in large pieces, the fields of a block of rows are located
//! in them, and each column then decodes its own in one loop that knows the type (RFC 4, RFC 22). Reads that nobody waits
//! for any more are ended at the server before their connections serve others.

mod fields;
mod pace;
mod pool;
mod rows;
mod window;

pub use fields::{Decoded, Field, Fields, Variable, primitive};
pub use pace::Pace;
pub use pool::{Connection, Ending, Freeing, Lease, Pool};
pub use rows::{Column, Rows};
pub use window::Window;
