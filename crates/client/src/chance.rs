//! The one place where the client draws chance: from the operating system.

use crate::ClientError;

/// `N` fresh random bytes.
pub(crate) fn draw<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut out = [0; N];
    getrandom::fill(&mut out).map_err(|error| ClientError::Chance(error.to_string()))?;
    Ok(out)
}
