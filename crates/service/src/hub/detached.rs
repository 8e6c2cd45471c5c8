//! Work that completes even if the request that started it is gone.

use super::error::HubError;

/// Runs `work` to completion in a separate task, and waits for it.
pub(super) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, HubError>> + Send + 'static,
) -> Result<T, HubError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        // Only the end of the runtime cancels the task.
        Err(_) => Err(HubError::Unavailable),
    }
}
