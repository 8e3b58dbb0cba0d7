import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import { Tool } from './button.tsx';

interface Props {
  title: string;
  onClose(): void;
  children: ComponentChildren;
  wide?: boolean;
  /** On top of the window, with its heading for screen readers alone. */
  palette?: boolean;
}

/** A modal dialog: the browser's own, which keeps the focus inside, gives it back, and closes on Escape. */
export function Dialog({ title, onClose, children, wide = false, palette = false }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  // Not after the paint: until it is modal, Escape and what is typed go to the page behind.
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={['dialog', wide ? 'wide' : '', palette ? 'palette' : ''].join(' ').trim()}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header class="dialog-head">
        <h2 id={heading}>{title}</h2>
        <Tool icon="close" label="Close" onClick={onClose} />
      </header>
      {children}
    </dialog>
  );
}
