//! How to make a library pass, and where `agentd-plugin-api` says more.

/// The hint for each clause.
pub(super) const HINTS: &[(&str, &str)] = &[
    (
        "load",
        "`agent backend check` shows every stage; export the backend with `export_backend!`, as a `cdylib` of the name in the manifest",
    ),
    (
        "connect",
        "give the settings that the backend needs with `--setting`; see `Backend::connect`",
    ),
    (
        "create",
        "start `SessionSpec::command` in `SessionSpec::working_dir`, and call `SessionEvents::running` when it runs",
    ),
    (
        "arguments",
        "hand `SessionSpec::command` to `execve` word by word, never through a shell",
    ),
    (
        "environment",
        "begin with `environment::for_agent`, which leaves out what is the daemon's own",
    ),
    (
        "marker",
        "set the variable `environment::SESSION_MARKER` to `SessionSpec::id` after all others; `process_tree` finds the agent's processes by it",
    ),
    (
        "secret-variables",
        "set `SessionSpec::env` in the environment of the process, or hand it over through a descriptor; not with `env NAME=VALUE` or `--setenv NAME VALUE`",
    ),
    (
        "inheritance",
        "open descriptors with close-on-exec, and reset the signal mask and dispositions between fork and exec, as `std::process` does",
    ),
    (
        "size",
        "set `SessionSpec::size` on the terminal before the program is executed",
    ),
    (
        "unknown-program",
        "look for the program with `program::require` and wait for the result of `execve`; see `Backend::start` and `SessionEvents::starting`",
    ),
    (
        "duplicate-name",
        "the host decides about names: do not keep a name after `Session::terminate` has answered",
    ),
    (
        "list",
        "give sessions `Config::instance` as a label, and answer `Backend::list` and `Backend::adopt` only for what carries it",
    ),
    (
        "inspect",
        "report the process id with `SessionEvents::running`, as this machine sees it",
    ),
    (
        "output",
        "hand over what was read at once, also when its line has not ended; see `SessionEvents::write_all`",
    ),
    (
        "last-output",
        "read until the terminal is at its end, then call `SessionEvents::exited`",
    ),
    (
        "end-comes-last",
        "let one task report everything of a session, the end last, and let it end then; see `SessionEvents`",
    ),
    (
        "output-order",
        "let one task read and hand over, one chunk after the other",
    ),
    (
        "drain",
        "after the process has ended, read on to the end of the terminal, then call `SessionEvents::exited`",
    ),
    (
        "credit",
        "use `SessionEvents::write_all`, or await `SessionEvents::ready` when `PushStatus::credit` is 0 and stop when `closed` is set",
    ),
    (
        "input",
        "type the text of `Session::prompt` as it stands, and Enter only with `submit`",
    ),
    (
        "resize",
        "change the size of the terminal in `Session::resize`, or leave the method out",
    ),
    (
        "logs",
        "see `Session::logs`: return after the last line, with `follow` after the end of the session or when `LogSink::line` is false",
    ),
    (
        "followers-leave",
        "let everything that `Session::logs` spawns or opens end with its future, as a value whose `Drop` ends it",
    ),
    (
        "followers-quiet",
        "let the system notify you of new lines, instead of running a program to look for them",
    ),
    (
        "health",
        "report `SessionEvents::health` only with `Capability::HealthCheck`",
    ),
    (
        "exit-code",
        "wait for the process, also when something else fails, and report `ExitStatus::code`",
    ),
    (
        "exit-signal",
        "report a death by a signal with `ExitStatus::signal`, and not as a code of 128 and more",
    ),
    (
        "terminate-tree",
        "end the agent with `ProcessTree::end`, and answer `Session::terminate` after it",
    ),
    (
        "terminate-stubborn",
        "kill what is left when the grace is over; `ProcessTree::end` does",
    ),
    (
        "grace",
        "ask first, kill after the grace, and answer as soon as nothing is left; `ProcessTree::end` does",
    ),
    (
        "tree-follows-agent",
        "when the program has ended, end the rest of its tree with `ProcessTree::end` before `SessionEvents::exited`",
    ),
    (
        "terminate-twice",
        "answer `Session::terminate` with `Ok` when the session has ended already",
    ),
    (
        "adopt",
        "store `SessionSpec::id` and `SessionSpec::label` beside the session, and give them back in `Found`",
    ),
    (
        "unknown-option",
        "refuse every key of `SessionSpec::options` that you do not know with `Error::refused`, and name it",
    ),
    (
        "panic-containment",
        "the log shows where it panicked; refuse with `Error::refused` instead",
    ),
    (
        "after-the-end",
        "answer with `Error::gone` when the session has ended, and await its end beside whatever a call waits for",
    ),
    (
        "no-blocking",
        "run what blocks in `threads::blocking` or `spawn_blocking`, and await it",
    ),
    (
        "own-threads",
        "the library's runtime has one thread: block in `threads::blocking` or a thread of your own, never in a task",
    ),
    (
        "claims",
        "hold `Host::spawning` around the start of the child, and give its process id to `Spawning::claim`",
    ),
    (
        "shared-process",
        "set directory, variables and signals of children only, wait for children by their process ids, and print with `tracing`",
    ),
    (
        "leaves-nothing",
        "let the session's tasks own its descriptors, end with it, and wait for its processes",
    ),
    (
        "undeclared-capability",
        "declare with `Manifest::capabilities` what the backend can do, and no more",
    ),
    (
        "fifty-sessions",
        "wait in tasks, not in threads, and raise no lock over an await that another session needs",
    ),
    (
        "cancellation",
        "keep what `Backend::start` has begun in a value whose `Drop` undoes it, until it returns",
    ),
    (
        "capability-terminal",
        "hand over the bytes as they were read; text may be cut anywhere",
    ),
    (
        "capability-interactive",
        "write all of `Session::write` before the next one, and make the terminal the program's controlling one",
    ),
    (
        "unread-input",
        "wait for room without a lock that `Session::terminate` or another session needs, and stop at the session's end",
    ),
    (
        "capability-logs",
        "set `LogLine::ts` and `LogLine::stream`, and mind `LogQuery::since_ms`",
    ),
    (
        "capability-health-check",
        "report each change of the verdict with `SessionEvents::health`",
    ),
    (
        "capability-attach-tmux",
        "answer `Session::attach_command` with an argv that shows the session in the user's own terminal",
    ),
];
