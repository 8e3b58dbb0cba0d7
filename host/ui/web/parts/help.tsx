import { helpOpen } from '../opened.ts';
import { SHORTCUTS } from '../text/keys.ts';
import { Dialog } from './dialog.tsx';

/** The page's keys, while they are asked for. */
export function Help() {
  if (!helpOpen.value) return null;
  return (
    <Dialog title="Keys" onClose={() => (helpOpen.value = false)}>
      <dl class="shortcuts">
        {SHORTCUTS.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
