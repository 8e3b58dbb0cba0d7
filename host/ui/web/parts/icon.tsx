/** The line drawings on buttons; each says nothing to a screen reader, the button's label does. */
const PATHS = {
  close: 'M6 6l12 12M18 6L6 18',
  copy: 'M9 9h10v10H9zM5 15V5h10',
  download: 'M12 4v11m-5-5l5 5 5-5M5 20h14',
  expand: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  duplicate: 'M4 4h11v11H4zM9 20h11V9M14.5 12v5M12 14.5h5',
  bell: 'M6 16V11a6 6 0 0112 0v5l1.5 2h-15zM10 21h4',
  help: 'M9 9a3 3 0 114.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5v.5',
  side: 'M4 5h16v14H4zM9 5v14',
  eye: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.2a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.6z',
  fit: 'M4 8V4h4m8 0h4v4M4 16v4h4m8 0h4v-4M9 9h6v6H9z',
  minus: 'M5 12h14',
  paste: 'M8 5H6v15h12V5h-2M9 3h6v4H9z',
  plus: 'M12 5v14M5 12h14',
  restart: 'M19 12a7 7 0 11-2.3-5.2M19 3v5h-5',
  search: 'M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.5L20 20',
  stop: 'M6 6h12v12H6z',
  trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13',
  up: 'M6 15l6-6 6 6',
  down: 'M6 9l6 6 6-6',
  reader: 'M4 6h16M4 11h16M4 16h10',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
