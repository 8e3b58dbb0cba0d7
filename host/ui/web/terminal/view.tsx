import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { can, may } from '../live.ts';
import { restart } from '../parts/actions.tsx';
import { Button, Tool } from '../parts/button.tsx';
import { copyText } from '../parts/clipboard.ts';
import { earlierRun, RunChoice } from '../parts/runs.tsx';
import { say } from '../parts/toast.tsx';
import { drawing, fontSize, isDark, reader } from '../prefs.ts';
import type { Agent } from '../service/wire.ts';
import { endedWell, endText } from '../text/exit.ts';
import { loadFont } from './font.ts';
import { KEYS, withCtrl } from './keys.ts';
import type { LinkState } from './link.ts';
import type { TerminalSession } from './session.ts';

interface Props {
  agent: Agent;
  /** In the grid: no controls, and the size is left to others. */
  tile?: boolean;
}

const small = matchMedia('(max-width: 640px), (pointer: coarse)');

/** A terminal with its controls. */
export function TerminalView({ agent, tile = false }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const [session, setSession] = useState<TerminalSession | null>(null);
  const [finding, setFinding] = useState(false);
  const interactive = can(agent, 'interactive') && may('write');
  const readOnly = useSignal(!interactive);
  const ctrl = useSignal(false);
  const [run, setRun] = useState('');
  const chosen = earlierRun(agent, run);
  const [sizing, setSizing] = useState<'fit' | 'follow'>(() =>
    // A phone does not shrink what others are looking at; alone it may.
    tile || (small.matches && (agent.session?.viewers ?? 0) > 0) ? 'follow' : 'fit',
  );

  useEffect(() => {
    let gone = false;
    let opened: TerminalSession | null = null;
    const focused = document.activeElement;
    void Promise.all([import('./session.ts'), loadFont()]).then(([{ TerminalSession: Opened }]) => {
      if (gone || !box.current) return;
      const made = new Opened(
        box.current,
        {
          agent: agent.id,
          run: chosen,
          mode: readOnly.peek() ? 'ro' : 'rw',
          sizing,
          look: { dark: isDark(), font: fontSize.peek(), reader: reader.peek() },
          tile,
          drawing: drawing.peek(),
        },
        {
          transform(bytes) {
            if (!ctrl.value) return bytes;
            ctrl.value = false;
            return new TextEncoder().encode(withCtrl(new TextDecoder().decode(bytes)));
          },
          copyRequest: (text) =>
            say(`${agent.name} would like to copy ${text.length} characters.`, {
              action: { label: 'Copy', run: () => void copyText(text, 'them') },
            }),
          leave: () => frame.current?.querySelector<HTMLElement>('.bar button, a')?.focus(),
          refused: (detail) => say(detail, { bad: true }),
          lost: (bytes) => say(`${agent.name}: ${bytes} bytes of output were lost while agentd was not running.`, { bad: true }),
        },
      );
      opened = made;
      setSession(made);
      // The person may have gone elsewhere with the keyboard while this was loaded.
      if (!tile && !small.matches && document.activeElement === focused) made.screen.focus();
    });
    return () => {
      gone = true;
      opened?.close();
      setSession(null);
    };
  }, [agent.id, chosen]);

  // The page may hear of the new run before the end of the one that is shown, or after it.
  const over = session?.over ?? '';
  useEffect(() => {
    if (over !== '' && earlierRun(agent, over) === over) session?.restart();
  }, [session, over, agent]);

  const dark = isDark();
  const font = fontSize.value;
  const read = reader.value;
  useEffect(() => session?.look({ dark, font, reader: read }), [session, dark, font, read]);

  const fullScreen = () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void frame.current?.requestFullscreen();
  };
  const paste = async () => {
    try {
      session?.screen.paste(await navigator.clipboard.readText());
      session?.screen.focus();
    } catch {
      say('The browser does not let this page read the clipboard. Control Shift V pastes too.', { bad: true });
    }
  };

  return (
    <div ref={frame} class={tile ? 'terminal tile' : 'terminal'} data-dark={dark}>
      {!tile && (
        <div class="tools bar" role="toolbar" aria-label="Terminal">
          <LinkChip session={session} />
          <span class="title" title="Set by the program">
            {session?.title.value}
          </span>
          <span class="gap" />
          <RunChoice agent={agent} chosen={chosen} onChoose={setRun} />
          {interactive && (
            <Tool
              icon="eye"
              label="Only watch: the keyboard does nothing"
              pressed={readOnly.value}
              onClick={() => {
                readOnly.value = !readOnly.value;
                session?.setMode(readOnly.value ? 'ro' : 'rw');
              }}
            />
          )}
          <Tool
            icon="fit"
            label="Fit the terminal to this window"
            pressed={sizing === 'fit'}
            onClick={() => {
              const next = sizing === 'fit' ? 'follow' : 'fit';
              setSizing(next);
              session?.setSizing(next);
            }}
          />
          <Tool icon="search" label="Search" pressed={finding} onClick={() => setFinding(!finding)} />
          <Tool
            icon="copy"
            label="Copy what is selected"
            onClick={() => {
              const text = session?.screen.terminal.getSelection();
              if (text) void copyText(text, 'the selection');
              else say('Nothing is selected.');
            }}
          />
          {interactive && <Tool icon="paste" label="Paste" disabled={readOnly.value} onClick={() => void paste()} />}
          <Tool icon="minus" label="Smaller letters" onClick={() => (fontSize.value = Math.max(6, font - 1))} />
          <Tool icon="plus" label="Larger letters" onClick={() => (fontSize.value = Math.min(32, font + 1))} />
          <Tool icon="reader" label="Give screen readers the text" pressed={read} onClick={() => (reader.value = !read)} />
          <Tool icon="expand" label="Full screen" onClick={fullScreen} />
        </div>
      )}
      <div class="stage">
        <div ref={box} class="screen" onFocusCapture={() => session?.focused()} />
        {finding && session && <Find session={session} onClose={() => setFinding(false)} />}
        {session?.address.value && <div class="address">{session.address.value}</div>}
        {session && <Cover session={session} agent={agent} />}
        {!tile && session?.sizedElsewhere.value && <Elsewhere session={session} />}
      </div>
      {session && chosen === '' && <ExitBar session={session} agent={agent} />}
      {!tile && interactive && !readOnly.value && session && (
        // The focus stays where it is: on the terminal, and with it the phone's keyboard.
        <div class="keys" role="toolbar" aria-label="Keys" onMouseDown={(event) => event.preventDefault()}>
          <button type="button" aria-pressed={ctrl.value} onClick={() => (ctrl.value = !ctrl.value)}>
            Ctrl
          </button>
          {KEYS.map((key) => (
            <button
              key={key.name}
              type="button"
              aria-label={key.name}
              onClick={() => session.screen.type(key.send(session.screen.terminal.modes.applicationCursorKeysMode))}
            >
              {key.label}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

const CHIPS: Record<LinkState['kind'], string> = {
  connecting: 'Connecting',
  live: 'Live',
  lost: 'Reconnecting',
  exited: 'Exited',
  ended: 'Closed',
};

/** How the connection stands, in a word. */
function LinkChip({ session }: { session: TerminalSession | null }) {
  const state = session?.state.value ?? { kind: 'connecting' };
  const size = session?.size.value;
  return (
    <span class={`chip ${state.kind}`} role="status">
      <span class="mark" aria-hidden="true" />
      {state.kind === 'live' && state.mode === 'ro' ? 'Live, watching' : CHIPS[state.kind]}
      {size && (
        <span class="faint size">
          {size.cols} × {size.rows}
        </span>
      )}
    </span>
  );
}

/** What covers the screen while it is not live. */
function Cover({ session, agent }: { session: TerminalSession; agent: Agent }) {
  const state = session.state.value;
  if (state.kind === 'lost') {
    return (
      <div class="cover" role="status">
        <p>
          {state.problem.message} Reconnecting{state.attempt > 1 ? ` (try ${state.attempt})` : ''}…
        </p>
        {session.unheard.value && <p>What you type now is not sent.</p>}
        <Button onClick={() => session.retry()}>Try now</Button>
      </div>
    );
  }
  if (state.kind === 'ended') {
    return (
      <div class="cover" role="status">
        <p>{state.why}</p>
        {state.code !== 4004 && <Button onClick={() => session.retry()}>Connect again</Button>}
      </div>
    );
  }
  if (state.kind === 'connecting' && agent.session?.state === 'starting') {
    return (
      <div class="cover" role="status">
        <p>Starting{agent.session.progress ? `: ${agent.session.progress}` : '…'}</p>
      </div>
    );
  }
  return null;
}

/** Why the terminal is not as large as this window. */
function Elsewhere({ session }: { session: TerminalSession }) {
  const [closed, setClosed] = useState(false);
  const size = session.size.value;
  if (closed || !size) return null;
  return (
    <div class="elsewhere" role="status">
      <span>
        {size.cols} × {size.rows}, as another window has it. Typing here fits it to this one.
      </span>
      <Tool icon="close" label="Close this message" onClick={() => setClosed(true)} />
    </div>
  );
}

/** How the program ended, with the way to start it again. */
function ExitBar({ session, agent }: { session: TerminalSession; agent: Agent }) {
  const exit = session.exit.value;
  if (!exit) return null;
  const said = { ...agent.session?.exit, ...exit };
  return (
    <div class={endedWell(exit) || agent.status === 'stopped' ? 'exit-bar' : 'exit-bar bad'} role="status">
      <span>
        {agent.name} {endText(agent, said)}.
      </span>
      {may('admin') && (
        <Button kind="main" onClick={() => restart(agent)} label={`Restart ${agent.name} now`}>
          Restart
        </Button>
      )}
    </div>
  );
}

/** Search in what the terminal holds. */
function Find({ session, onClose }: { session: TerminalSession; onClose(): void }) {
  const [text, setText] = useState('');
  const input = useRef<HTMLInputElement>(null);
  // Not after the paint: what is typed until then goes to the program.
  useLayoutEffect(() => input.current?.focus(), []);
  const matches = session.matches.value;
  const close = () => {
    session.screen.clearFind();
    onClose();
    session.screen.focus();
  };
  return (
    <form
      class="bar find"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        session.screen.find(text, 'previous');
      }}
      onKeyDown={(event) => {
        if (event.key === 'Escape') close();
        if (event.key === 'Enter' && event.shiftKey) {
          event.preventDefault();
          session.screen.find(text, 'next');
        }
      }}
    >
      <label class="search">
        <span class="sr">Search the terminal</span>
        <input
          type="search"
          placeholder="Search"
          ref={input}
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            session.screen.find(event.currentTarget.value, 'previous', true);
          }}
        />
      </label>
      <span class="faint count" role="status">
        {text !== '' && (matches && matches.count > 0 ? `${matches.index + 1} of ${matches.count}` : 'nothing found')}
      </span>
      <Tool icon="up" label="Previous match" onClick={() => session.screen.find(text, 'previous')} />
      <Tool icon="down" label="Next match" onClick={() => session.screen.find(text, 'next')} />
      <Tool icon="close" label="Close the search" onClick={close} />
    </form>
  );
}
