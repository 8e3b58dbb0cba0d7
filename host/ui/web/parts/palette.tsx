import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Command, commands, matching, searchFor } from '../commands.ts';
import { paletteOpen } from '../opened.ts';
import { Dialog } from './dialog.tsx';

/** What is found at the most; a longer text finds less. */
const MOST = 50;

/** Agents and actions by their names, while it is asked for. */
export function Palette() {
  return paletteOpen.value ? <PaletteDialog onClose={() => (paletteOpen.value = false)} /> : null;
}

function PaletteDialog({ onClose }: { onClose(): void }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const named = matching(commands(), text).slice(0, MOST);
  const found = text.trim() === '' ? named : [...named, searchFor(text)];
  const chosen = found[Math.min(at, found.length - 1)];
  useLayoutEffect(() => list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' }), [chosen?.id]);

  const run = (one: Command | undefined) => {
    if (!one) return;
    onClose();
    // Once the dialog has given the focus back, since what is run may take it.
    setTimeout(() => one.run());
  };
  const key = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && found.length > 0) {
      event.preventDefault();
      setAt((Math.min(at, found.length - 1) + step + found.length) % found.length);
    } else if (event.key === 'Enter' && !event.isComposing) {
      event.preventDefault();
      run(chosen);
    }
  };

  return (
    <Dialog title="Go to or do something" onClose={onClose} palette>
      <input
        type="text"
        role="combobox"
        autofocus
        autocomplete="off"
        spellcheck={false}
        aria-label="An agent or an action"
        aria-expanded={found.length > 0}
        {...(found.length > 0 ? { 'aria-controls': 'commands' } : {})}
        aria-autocomplete="list"
        {...(chosen ? { 'aria-activedescendant': `command-${chosen.id}` } : {})}
        placeholder="An agent or an action"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={key}
      />
      {named.length === 0 && <p class="faint">Nothing is called so.</p>}
      {found.length > 0 && (
        <ul ref={list} id="commands" class="commands" role="listbox" aria-label="Found">
          {found.map((one) => (
            <li key={one.id} id={`command-${one.id}`} role="option" aria-selected={one === chosen} onClick={() => run(one)}>
              <span>{one.label}</span>
              <span class="faint">{one.note}</span>
            </li>
          ))}
        </ul>
      )}
    </Dialog>
  );
}
