//! The port for a payment provider's webhooks: HTTP, and nothing else goes over it.

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::listen::Incoming;

/// Serves until `end` is cancelled; what has begun by then is answered.
pub(crate) async fn serve(incoming: Incoming, router: Router, end: CancellationToken) {
    if let Err(error) = axum::serve(incoming, router).with_graceful_shutdown(end.cancelled_owned()).await {
        tracing::error!(%error, "the port for payment webhooks has failed");
    }
}
