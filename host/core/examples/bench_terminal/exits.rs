use agentd_api::client::TerminalEvent;

use crate::Result;
use crate::server::{Seen, Server};
use agentd_host::testing::Table;

const EXITS: u64 = 1000;
const WORDS: u64 = 64 * 1024;

/// Programs that write 64 KiB and exit at once: whose tail and status arrived.
pub async fn measure(table: &mut Table) -> Result {
    let server = Server::start()?;
    let mut right = 0;
    for number in 0..EXITS {
        let (name, code) = (format!("exit{number}"), number % 256);
        server
            .run(&name, &["words", &WORDS.to_string(), &code.to_string()])
            .await?;
        let (mut reader, _writer) = server.watch(&name).await?;
        let mut seen = Seen::default();
        let mut position = 0;
        loop {
            let event = reader.next().await?;
            if matches!(event, TerminalEvent::Closed { .. }) {
                break;
            }
            seen.take(&event);
            position = reader.position().map_or(position, |position| position.seq);
        }
        let tail = seen.screen()?.concat().ends_with("wtail");
        if position == WORDS && tail && seen.code == Some(i32::try_from(code)?) {
            right += 1;
        } else {
            eprintln!(
                "{name}: position {position}, tail {tail}, {:?} for {code}",
                seen.code
            );
        }
        server.delete(&name).await?;
    }
    let value = format!("{right} of {EXITS}");
    table.row(
        "complete tails and right status",
        value,
        "1000",
        right == EXITS,
    );
    Ok(())
}
