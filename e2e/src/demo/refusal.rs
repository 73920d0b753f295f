//! A manifest that violates the path convention, judged by the API server and by `waypost lint`.

use anyhow::ensure;

use super::{Narrator, Place, place::text};

const MANIFEST: &str = "examples/demo/pushsecret-outside-the-convention.yaml";

/// The rule that it breaks.
const RULE: &str = "V5";

/// Shows both refusals.
pub(super) async fn show(place: &Place, narrator: &Narrator) -> anyhow::Result<()> {
    let apply = ["apply", "-f", MANIFEST];
    narrator.command("kubectl", &apply);
    let refused = place.kubectl_output(&apply).await?;
    let answer = text(&refused.stderr);
    narrator.output(&answer);
    ensure!(!refused.status.success() && answer.contains(RULE), "the API server was to refuse it by rule {RULE}");

    let lint = ["lint", MANIFEST];
    narrator.command("waypost", &lint);
    let refused = place.waypost(&lint).await?;
    let answer = text(&refused.stdout) + &text(&refused.stderr);
    narrator.output(&answer);
    ensure!(
        refused.status.code() == Some(1) && answer.contains(RULE),
        "`waypost lint` was to refuse it by rule {RULE}"
    );
    Ok(())
}
