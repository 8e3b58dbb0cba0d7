//! How a session ends.

use agentd_api::{Exit, State};

use crate::bench::Bench;
use crate::fault::{Check, ensure};

pub(super) async fn exit_code(bench: &Bench) -> Check {
    for code in [7, 0] {
        let agent = bench.script(&format!("exit {code}")).await?;
        let exit = bench.ended(&agent.session).await?;
        expect(&exit, Some(code), None)?;
        let shown = agent.session.describe();
        ensure!(
            shown.state == State::Exited && shown.pid.is_none(),
            "after the end the session is shown as {:?} with the process {:?}",
            shown.state,
            shown.pid
        );
        let listed = bench.sessions.get(&shown.name);
        ensure!(listed.is_ok(), "a session that ended is not kept");
    }
    Ok(())
}

pub(super) async fn exit_signal(bench: &Bench) -> Check {
    for (name, signal) in [("KILL", 9), ("TERM", 15)] {
        let agent = bench.script(&format!("kill -{name} $$")).await?;
        let exit = bench.ended(&agent.session).await?;
        expect(&exit, None, Some(signal))?;
    }
    Ok(())
}

pub(super) fn expect(exit: &Exit, code: Option<i32>, signal: Option<i32>) -> Check {
    ensure!(
        exit.code == code && exit.signal == signal,
        "the end is reported as {exit:?} instead of {code:?} and {signal:?}"
    );
    Ok(())
}

pub(super) async fn terminate_twice(bench: &Bench) -> Check {
    let session = bench.idle("agent").await?;
    let stop = || bench.within("the session to be stopped", bench.sessions.stop(&session));
    let (one, two) = tokio::join!(stop(), stop());
    one??;
    two??;
    stop().await??;
    let state = session.record().state;
    ensure!(
        state == State::Exited,
        "the session is {state:?} after it was stopped"
    );
    bench.delete(&session).await?;
    bench.delete(&session).await?;
    if !bench.manifest().loopback {
        let agent = bench.script("exit 3").await?;
        bench.ended(&agent.session).await?;
        bench.delete(&agent.session).await?;
    }
    Ok(())
}
