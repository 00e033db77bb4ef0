//! SIGTERM and SIGINT: the first asks for an end, the second makes one.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{failure::Failure, output};

/// Exit code after a second signal: nothing was waited for.
const CUT_OFF: i32 = 1;

/// Listens from its creation on, so that no signal is lost between start and wait.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Within a runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Resolves at the first signal; from then on, another one ends the process at once.
    pub(crate) async fn first(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            output::note("holdfast: a second signal, stopping at once; what was acknowledged is durable");
            std::process::exit(CUT_OFF);
        });
    }
}
