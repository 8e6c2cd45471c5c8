//! Work that ends even when the request that asked for it has gone away.

use super::error::HubError;

/// Runs `work` to its end in a task of its own, and waits for that end.
pub(super) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, HubError>> + Send + 'static,
) -> Result<T, HubError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        // Nothing else cancels the task but the end of the runtime.
        Err(_) => Err(HubError::Unavailable),
    }
}
