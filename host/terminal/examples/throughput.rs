//! How fast the emulator reads:
//! `cargo run --release -p agentd-terminal --features testing --example throughput`.
//!
//! Prints MB/s for kinds of output that stress different parts, best of three: of the emulator, of one
//! that leaves a mark for readers of the log in each 128 KiB, and of a transcript. Then what a byte of
//! hostile output costs on an ordinary and on the largest screen.

use std::time::Instant;

use agentd_terminal::hostile;

use agentd_terminal::{Emulator, Size, Transcript};

const TOTAL: usize = 32 << 20;
const CHUNK: usize = 4096;
/// As the host leaves them with the history that it keeps unless it is told otherwise.
const MARK_EACH: usize = 128 << 10;
const HOSTILE: usize = 256 << 10;

fn main() {
    let lines = (0..2000).map(|n| {
        format!(
            "2026-01-01T00:00:00Z INFO worker{n}: request {n} served in {} ms from cache\r\n",
            n * 7 % 100
        )
    });
    let color = (0..2000).map(|n| {
        let word = |i: u32| format!("\x1b[38;2;{};{};{}mword{i} ", (n + i) % 256, n % 200, i * 9);
        (0..9).map(word).collect::<String>() + "\x1b[0m\r\n"
    });
    let redraw = (0..2000).map(|n| {
        let mut frame = String::from("\x1b[?2026h\x1b[5A");
        for row in 0..5 {
            frame += &format!(
                "\r\x1b[2K\x1b[36m*\x1b[0m working on step {n}.{row}, \x1b[1mplease wait\x1b[0m\n"
            );
        }
        frame + "\x1b[?2026l"
    });
    let corpora: [(&str, String); 6] = [
        ("log lines", lines.collect()),
        ("true colour", color.collect()),
        ("agent redraw", redraw.collect()),
        (
            "CJK and emoji",
            "日本語のテキスト😀と漢字、\r\n".repeat(3000),
        ),
        ("yes", "y\r\n".repeat(20000)),
        ("one long line", "abcdefghij".repeat(20000)),
    ];
    for (name, corpus) in corpora {
        let corpus = corpus.as_bytes();
        let best = |run: fn(&[u8]) -> f64| (0..3).map(|_| run(corpus)).fold(0.0, f64::max);
        let (plain, marked, read) = (best(run), best(run_marked), best(read));
        print(&format!(
            "{name:14} {plain:8.0} MB/s, with marks {marked:8.0}, as lines {read:8.0}"
        ));
    }
    print("hostile output, ns a byte: on 80x24, on 1000x1000");
    for input in hostile::inputs() {
        let bytes = input.bytes(HOSTILE);
        let cost = |size| {
            let mut emulator = Emulator::new(size, 1000);
            let start = Instant::now();
            let mut read = 0;
            for chunk in bytes.chunks(4 * CHUNK) {
                emulator.advance(chunk);
                read += chunk.len();
                if start.elapsed().as_secs() > 2 {
                    break;
                }
            }
            start.elapsed().as_nanos() / read as u128
        };
        let largest = Size::new(Size::MAX, Size::MAX).unwrap_or_default();
        let (small, large) = (cost(Size::default()), cost(largest));
        print(&format!("{:42} {small:8} {large:10}", input.name));
    }
}

fn run(corpus: &[u8]) -> f64 {
    let mut emulator = Emulator::new(Size::default(), 200);
    speed(corpus, |chunk| emulator.advance(chunk))
}

fn run_marked(corpus: &[u8]) -> f64 {
    let mut emulator = Emulator::new(Size::default(), 200);
    let mut since = 0;
    speed(corpus, |chunk| {
        emulator.advance(chunk);
        since += chunk.len();
        if since >= MARK_EACH {
            since = 0;
            std::hint::black_box(emulator.plain_snapshot(64 << 10));
        }
    })
}

fn read(corpus: &[u8]) -> f64 {
    let mut transcript = Transcript::new(Size::default());
    speed(corpus, |chunk| {
        transcript.advance_within(chunk, u64::MAX);
        std::hint::black_box(transcript.take_lines());
    })
}

fn speed(corpus: &[u8], mut take: impl FnMut(&[u8])) -> f64 {
    let mut done = 0;
    let start = Instant::now();
    while done < TOTAL {
        for chunk in corpus.chunks(CHUNK) {
            take(chunk);
        }
        done += corpus.len();
    }
    done as f64 / 1e6 / start.elapsed().as_secs_f64()
}

#[allow(clippy::print_stdout, reason = "its only output")]
fn print(line: &str) {
    println!("{line}");
}
