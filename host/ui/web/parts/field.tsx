import type { ComponentChildren, JSX } from 'preact';
import { useId } from 'preact/hooks';
import { Prose } from './prose.tsx';

interface Props {
  label: string;
  help?: string | undefined;
  complaint?: string | undefined;
  required?: boolean;
  children(wiring: Wiring): ComponentChildren;
}

/** What ties an input to its label, its help and its complaint. */
export interface Wiring {
  id: string;
  'aria-describedby'?: string;
  'aria-invalid'?: true;
  'aria-required'?: true;
}

export function Field({ label, help, complaint, required = false, children }: Props) {
  const id = useId();
  const notes = [help ? `${id}-help` : '', complaint ? `${id}-bad` : ''].filter(Boolean).join(' ');
  const wiring: Wiring = { id };
  if (notes) wiring['aria-describedby'] = notes;
  if (complaint) wiring['aria-invalid'] = true;
  if (required) wiring['aria-required'] = true;
  return (
    <div class="field">
      <label for={id}>
        {label}
        {required && (
          <span class="faint" aria-hidden="true">
            {' '}
            · needed
          </span>
        )}
      </label>
      {children(wiring)}
      {help && (
        <p class="help" id={`${id}-help`}>
          <Prose text={help} />
        </p>
      )}
      {complaint && (
        <p class="complaint" id={`${id}-bad`}>
          {complaint}
        </p>
      )}
    </div>
  );
}

type InputProps = Omit<JSX.InputHTMLAttributes<HTMLInputElement>, 'value' | 'onInput' | 'onChange'> & {
  value: string;
  onValue(value: string): void;
};

/** An input for text that is not prose: nothing corrects it or offers old values. */
export function Input({ value, onValue, ...rest }: InputProps) {
  return (
    <input
      autocomplete="off"
      autocapitalize="off"
      spellcheck={false}
      {...rest}
      value={value}
      onInput={(event) => onValue(event.currentTarget.value)}
    />
  );
}
