use agentd_host::testing::Random;

/// Prints now and then.
pub const PRINTS_ON: &str = "while :; do echo line; sleep 0.1; done";

/// The scripts that agents run. Each lives until it is ended, or for a second or two.
const SCRIPTS: &[&str] = &[
    // Says nothing.
    "exec sleep 1000",
    // Takes keys and answers.
    "exec cat",
    PRINTS_ON,
    // Floods, and goes on as a quiet one.
    "head -c 3000000 /dev/zero | tr '\\0' 'x'; exec sleep 1000",
    "i=0; while [ $i -lt 20000 ]; do echo \"line $i of many\"; i=$((i+1)); done; exec sleep 1000",
    // Many colours, and then nothing.
    "i=0; while [ $i -lt 3000 ]; do r=$((i%256)); g=$((i/12)); \
     printf '\\033[38;2;%d;%d;7mx' $r $g; i=$((i+1)); done; exec sleep 1000",
    // A full-screen program that asks its terminal.
    "printf '\\033[?1049h\\033[6n\\033[c\\033[H\\033[2Jfull'; exec cat",
    // Ends by itself, well and badly.
    "echo bye; exit 0",
    "sleep 1; exit 3",
    "kill -9 $$",
    // Leaves processes behind.
    "sleep 1000 & sleep 1000 & exit 0",
    "(trap '' HUP; exec sleep 1000) & exec cat",
    // Does not want to end.
    "trap '' TERM HUP INT; while :; do sleep 0.2; done",
];

/// What an agent runs.
pub fn any(random: &mut Random) -> Vec<String> {
    let chosen: &&str = random.choose(SCRIPTS);
    script(chosen)
}

/// An agent that stays. The first ones do something of everything, the many others wait for what comes.
pub fn that_stays(number: usize) -> Vec<String> {
    match number {
        0..14 => script(SCRIPTS[number % 7]),
        _ => script(SCRIPTS[number % 2]),
    }
}

fn script(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}
