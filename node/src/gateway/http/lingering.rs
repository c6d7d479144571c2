//! What becomes of a request's body that nobody read.
//!
//! When a server closes while its client still writes, the client's kernel throws the answer away (RFC 9112, section 9.6).
//! So a body that is dropped before its end is read on, within bounds, while the answer is on its way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

/// Most that is read for nothing: twice the largest JSON body that is taken.
const MOST_BYTES: usize = 16 << 20;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A body that is read to its end even when whoever it was for drops it.
pub struct Lingering<B>(Option<B>)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send;

impl<B> Lingering<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    pub fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B> Body for Lingering<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Lingering<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    fn drop(&mut self) {
        if let Some(body) = self.0.take()
            && !body.is_end_stream()
        {
            tokio::spawn(tokio::time::timeout(PATIENCE, read_on(body)));
        }
    }
}

async fn read_on<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = MOST_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Buf::remaining);
        if length > left {
            return;
        }
        left -= length;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures_util::stream;
    use http_body_util::StreamBody;
    use tokio::sync::oneshot;

    use super::*;

    /// How many of `frames` KiB are taken from a body that is dropped unread.
    async fn taken_of(frames: usize) -> usize {
        let (alive, ended) = oneshot::channel::<()>();
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = taken.clone();
        let frames = (0..frames).map(move |_| {
            let _lives_as_long_as_the_body = &alive;
            counted.fetch_add(1, Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 1 << 10])))
        });
        drop(Lingering::new(StreamBody::new(stream::iter(frames))));
        ended.await.expect_err("nothing is sent");
        taken.load(Relaxed)
    }

    #[tokio::test]
    async fn a_dropped_body_is_read_on_within_bounds() {
        assert_eq!(taken_of(3_000).await, 3_000);
        let most = MOST_BYTES >> 10;
        assert_eq!(taken_of(most + 1_000).await, most + 1);
    }
}
