import type { Terminal } from '@xterm/xterm';

/** Browsers allow about sixteen contexts in a page and take the oldest away; we stay below. */
const MOST = 8;
let inUse = 0;

/** `auto` is WebGL where there is a graphics card for it. */
export type Drawing = 'auto' | 'webgl' | 'elements';

/** Draw with WebGL where the browser can; otherwise, or when it takes the context away, xterm.js draws elements. */
export async function draw(terminal: Terminal, drawing: Drawing): Promise<void> {
  if (drawing === 'elements' || inUse >= MOST) return;
  if (drawing === 'auto' && !hasGraphicsCard()) return;
  inUse += 1;
  let released = false;
  const release = () => {
    if (!released) inUse -= 1;
    released = true;
  };
  try {
    const { WebglAddon } = await import('@xterm/addon-webgl');
    const addon = new WebglAddon();
    addon.onContextLoss(() => addon.dispose());
    const dispose = addon.dispose.bind(addon);
    addon.dispose = () => {
      release();
      dispose();
    };
    terminal.loadAddon(addon);
  } catch {
    release();
  }
}

let able: boolean | null = null;

/** WebGL that the processor has to draw is slower than elements. */
function hasGraphicsCard(): boolean {
  if (able === null) {
    const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
    const names = context?.getExtension('WEBGL_debug_renderer_info');
    const name = context?.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : context.RENDERER) as string | undefined;
    able = name !== undefined && !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
    context?.getExtension('WEBGL_lose_context')?.loseContext();
  }
  return able;
}
