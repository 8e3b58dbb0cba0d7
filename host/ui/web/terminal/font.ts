import '../styles/font.css';

const FAMILY = 'agentd mono';

/** The bundled font first; others have the characters that it lacks. */
export const FONT = `"${FAMILY}", ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono", monospace, "Noto Color Emoji"`;

/** A terminal that is shown without its font is measured again when it comes. */
const LONGEST_WAIT = 2000;

/** Letters, lines and spinners: what nearly every agent shows at once. */
const SHOWN_AT_ONCE = 'M─⠋';

/** Fetch the font before a terminal is measured by it. */
export async function loadFont(): Promise<void> {
  const fonts = [document.fonts.load(`14px "${FAMILY}"`, SHOWN_AT_ONCE), document.fonts.load(`bold 14px "${FAMILY}"`, 'M')];
  const loaded = Promise.all(fonts).then(
    () => undefined,
    () => undefined,
  );
  await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, LONGEST_WAIT))]);
}

/** Another part of the font has arrived; returns how to stop. */
export function onFontLoaded(listener: () => void): () => void {
  const loaded = (event: FontFaceSetLoadEvent) => {
    if (event.fontfaces.some(({ family }) => family.replaceAll('"', '') === FAMILY)) listener();
  };
  document.fonts.addEventListener('loadingdone', loaded);
  return () => document.fonts.removeEventListener('loadingdone', loaded);
}
