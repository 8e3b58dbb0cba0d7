import { signal } from '@preact/signals';
import { Tool } from './button.tsx';

interface Toast {
  id: number;
  text: string;
  bad: boolean;
  action: { label: string; run(): void } | null;
}

const shown = signal<Toast[]>([]);
let last = 0;

/** Say something in the corner for a while; with an action, until it is taken or closed. */
export function say(text: string, options: { bad?: boolean; action?: Toast['action'] } = {}): void {
  last += 1;
  const toast: Toast = { id: last, text, bad: options.bad ?? false, action: options.action ?? null };
  shown.value = [...shown.value.filter((other) => other.text !== text), toast].slice(-4);
  setTimeout(() => drop(toast.id), toast.action || toast.bad ? 15_000 : 5_000);
}

const drop = (id: number): void => {
  shown.value = shown.value.filter((toast) => toast.id !== id);
};

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.value.map((toast) => (
        <div key={toast.id} class={toast.bad ? 'toast bad' : 'toast'}>
          <span>{toast.text}</span>
          {toast.action && (
            <button
              type="button"
              class="button"
              onClick={() => {
                toast.action?.run();
                drop(toast.id);
              }}
            >
              {toast.action.label}
            </button>
          )}
          <Tool icon="close" label="Close this message" onClick={() => drop(toast.id)} />
        </div>
      ))}
    </div>
  );
}
