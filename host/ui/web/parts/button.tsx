import type { ComponentChildren } from 'preact';
import { Icon, type IconName } from './icon.tsx';

interface ToolProps {
  icon: IconName;
  label: string;
  onClick(): void;
  /** For a button that stays pressed. */
  pressed?: boolean;
  disabled?: boolean;
}

/** A button that is only a drawing; its label is read out and shown on hover. */
export function Tool({ icon, label, onClick, pressed, disabled }: ToolProps) {
  return (
    <button
      type="button"
      class="tool"
      aria-label={label}
      title={label}
      {...(pressed === undefined ? {} : { 'aria-pressed': pressed })}
      disabled={disabled ?? false}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}

interface ButtonProps {
  children: ComponentChildren;
  onClick?(): void;
  kind?: 'plain' | 'main' | 'danger';
  submit?: boolean;
  disabled?: boolean;
  label?: string;
}

export function Button({ children, onClick, kind = 'plain', submit = false, disabled = false, label }: ButtonProps) {
  return (
    <button
      type={submit ? 'submit' : 'button'}
      class={`button ${kind}`}
      disabled={disabled}
      {...(label ? { 'aria-label': label } : {})}
      {...(onClick ? { onClick } : {})}
    >
      {children}
    </button>
  );
}
