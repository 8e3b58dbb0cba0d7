import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { drafts, history, prompt, writeDraft } from '../service/prompts.ts';
import type { Agent } from '../service/wire.ts';
import { Button } from './button.tsx';
import { say } from './toast.tsx';

interface Props {
  agents: Agent[];
  /** By what its text is known while it is not sent; else by the agent. */
  draft?: string;
  /** Those that did not get what was sent: none, if all is well. */
  onSent?(missed: Agent[]): void;
}

/** Where a prompt is written, for one agent or several. It grows upwards, over what is there: a terminal keeps its size. */
export function Composer({ agents, draft, onSent }: Props) {
  const [one] = agents;
  const to = draft ?? one?.id ?? '';
  const whom = agents.length === 1 && one ? one.name : `${agents.length} agents`;
  const text = drafts.value.get(to) ?? '';
  const [busy, setBusy] = useState(false);
  // How far back in what was sent; -1 is what is being written.
  const [back, setBack] = useState(-1);
  const written = useRef('');
  const box = useRef<HTMLTextAreaElement>(null);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight + element.offsetHeight - element.clientHeight}px`;
  }, [text]);

  const send = async () => {
    if (busy || text.trim() === '' || agents.length === 0) return;
    setBusy(true);
    const failed = await prompt(agents, text, to);
    setBusy(false);
    for (const { agent, problem } of failed) say(`${agent.name}: ${problem.message}`, { bad: true });
    if (failed.length === 0) {
      // What was written meanwhile stays.
      if (drafts.peek().get(to) === text) writeDraft(to, '');
      setBack(-1);
      if (agents.length > 1) say(`Sent to ${whom}.`);
    }
    onSent?.(failed.map(({ agent }) => agent));
  };

  const recall = (step: 1 | -1): boolean => {
    const before = history(to);
    const next = back + step;
    if (next < -1 || next >= before.length) return false;
    if (back === -1) written.current = text;
    setBack(next);
    writeDraft(to, next === -1 ? written.current : (before[next] ?? ''));
    return true;
  };

  const key = (event: KeyboardEvent & { currentTarget: HTMLTextAreaElement }) => {
    if (event.isComposing) return;
    const { selectionStart: start, selectionEnd: end, value } = event.currentTarget;
    if (event.key === 'Enter' && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      void send();
    } else if (event.key === 'ArrowUp' && start === end && (start === 0 || (back >= 0 && !value.slice(0, start).includes('\n')))) {
      if (recall(1)) event.preventDefault();
    } else if (event.key === 'ArrowDown' && back >= 0 && !value.slice(start).includes('\n')) {
      if (recall(-1)) event.preventDefault();
    }
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <label class="sr" for={`prompt-${to}`}>
        Prompt for {whom}
      </label>
      <textarea
        ref={box}
        id={`prompt-${to}`}
        rows={1}
        placeholder={`Prompt for ${whom}`}
        title="Enter sends, Shift Enter begins a line, Up at the start goes back to what was sent"
        value={text}
        onInput={(event) => {
          setBack(-1);
          writeDraft(to, event.currentTarget.value);
        }}
        onKeyDown={key}
      />
      <Button kind="main" submit disabled={busy || text.trim() === ''} label={`Send to ${whom}`}>
        {busy ? 'Sending…' : 'Send'}
      </Button>
    </form>
  );
}
