//! The bytes of an image, accounted for: all bodies together never take more memory than is set.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::RequestError;

/// Memory is accounted for in units of this many bytes.
const UNIT: usize = 1024;

/// How long to wait before asking again when bodies take all the memory there is for them.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What all bodies together may take.
#[derive(Clone, Debug)]
pub struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    /// A budget of this many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(UNIT))))
    }
}

/// The bytes of one image, and their share of the memory budget.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    // Given back when dropped.
    reserved: Option<OwnedSemaphorePermit>,
    budget: BodyMemory,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body {
    /// An empty body that grows within `budget`.
    pub fn new(budget: &BodyMemory) -> Self {
        Self { bytes: Vec::new(), reserved: None, budget: budget.clone() }
    }

    /// Appends what came in, up to `limit` bytes in all.
    pub fn extend(&mut self, chunk: &[u8], limit: usize) -> Result<(), RequestError> {
        let length = self.bytes.len() + chunk.len();
        if length > limit {
            return Err(RequestError::TooManyBytes { limit });
        }
        let held = self.reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = length.div_ceil(UNIT).saturating_sub(held);
        if missing > 0 {
            let missing = u32::try_from(missing).map_err(|_| RequestError::TooManyBytes { limit })?;
            let permit = Arc::clone(&self.budget.0)
                .try_acquire_many_owned(missing)
                .map_err(|_| RequestError::Overloaded { retry_after: RETRY_AFTER })?;
            match &mut self.reserved {
                Some(reserved) => reserved.merge(permit),
                None => self.reserved = Some(permit),
            }
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}
