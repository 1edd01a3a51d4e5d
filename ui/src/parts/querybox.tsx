// The field for a query, with completion of field names and values.
import type { Ref } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { get } from '../core/api';

interface Choice {
  /** What is put in place of the word. */
  text: string;
  note: string;
}

/** The word that the cursor is in, cut into what completion needs. */
export function wordAt(text: string, cursor: number): { from: number; word: string; name: string | null; sign: string; value: string } {
  const before = text.slice(0, cursor);
  const word = /[^\s()]*$/.exec(before)![0];
  const found = /^(-?)([\w.$@-]+?)(:>=|:<=|:>|:<|:|!=|>=|<=|=|>|<)(.*)$/s.exec(word);
  return { from: cursor - word.length, word, name: found ? found[2]! : null, sign: found ? found[3]! : '', value: found ? found[4]! : '' };
}

async function choices(text: string, cursor: number, signal: AbortSignal): Promise<Choice[]> {
  const { word, name, sign, value } = wordAt(text, cursor);
  const minus = word.startsWith('-') ? '-' : '';
  if (name !== null) {
    if (/^(since|until)$/i.test(name)) return ['5m', '15m', '1h', '6h', '24h', '7d'].map((one) => ({ text: `${name}:${one}`, note: 'back from now' }));
    const asked = new URLSearchParams({ key: sign.startsWith(':') ? name : `fields.${name}`, prefix: value.replace(/^"/, ''), limit: '12' });
    const answer = await get<{ values: { value: string | number | boolean; count: number }[] }>(`/v1/values?${asked}`, signal);
    return answer.values.map((one) => ({
      text: `${minus}${name}${sign}${typeof one.value === 'string' ? quoteValue(one.value) : one.value}`,
      note: one.count ? `${one.count}×` : '',
    }));
  }
  const answer = await get<{ keys: { key: string; structured?: boolean; text?: string; type: string }[] }>(
    `/v1/keys?${new URLSearchParams({ prefix: word.replace(/^-/, ''), limit: '14' })}`,
    signal,
  );
  return answer.keys.map((key) => ({
    text: `${minus}${key.structured ? `${key.key}=` : `${key.key}:`}`,
    note: key.text || `member of logged objects, ${key.type}`,
  }));
}

const quoteValue = (text: string): string => (/^[^\s()"*]+$/.test(text) ? text : JSON.stringify(text));

interface Props {
  value: string;
  apply(text: string): void;
  /** What `/` focuses. */
  box: Ref<HTMLInputElement> & { current: HTMLInputElement | null };
  invalid: boolean;
  placeholder?: string;
}

export function QueryBox({ value, apply, box, invalid, placeholder }: Props) {
  const [text, setText] = useState(value);
  const [list, setList] = useState<Choice[]>([]);
  const [at, setAt] = useState(-1);
  const asking = useRef(new AbortController());
  useEffect(() => setText(value), [value]);

  const complete = (now: string, cursor: number): void => {
    asking.current.abort();
    const stop = (asking.current = new AbortController());
    setTimeout(() => {
      if (stop.signal.aborted) return;
      choices(now, cursor, stop.signal)
        .then((found) => {
          if (stop.signal.aborted) return;
          const { word } = wordAt(now, cursor);
          setList(found.filter((one) => one.text !== word).slice(0, 12));
          setAt(-1);
        })
        .catch(() => setList([]));
    }, 80);
  };
  const close = (): void => {
    asking.current.abort();
    setList([]);
    setAt(-1);
  };
  const take = (choice: Choice): void => {
    const field = box.current!;
    const cursor = field.selectionStart ?? field.value.length;
    const { from } = wordAt(field.value, cursor);
    const space = /[:=<>]$/.test(choice.text) ? '' : ' ';
    const next = field.value.slice(0, from) + choice.text + space + field.value.slice(cursor).trimStart();
    setText(next);
    close();
    const place = from + choice.text.length + space.length;
    requestAnimationFrame(() => {
      field.focus();
      field.setSelectionRange(place, place);
      if (!space) complete(next, place);
    });
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'ArrowDown' && !list.length) complete(box.current!.value, box.current!.selectionStart ?? 0);
    else if (list.length && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      event.preventDefault();
      setAt((now) => (now + (event.key === 'ArrowDown' ? 1 : -1) + list.length + (now < 0 && event.key === 'ArrowUp' ? 1 : 0)) % list.length);
    } else if ((event.key === 'Enter' || event.key === 'Tab') && at >= 0) {
      event.preventDefault();
      take(list[at]!);
    } else if (event.key === 'Enter') {
      event.preventDefault();
      close();
      apply(box.current!.value); // the state may lag behind quick fingers
    } else if (event.key === 'Escape') {
      if (list.length) close();
      else box.current?.blur();
    }
  };
  return (
    <div class="querybox">
      <input
        ref={box}
        type="text"
        role="combobox"
        aria-label="Query"
        aria-expanded={list.length > 0}
        aria-controls="query-choices"
        aria-autocomplete="list"
        aria-activedescendant={at >= 0 ? `choice-${at}` : undefined}
        aria-invalid={invalid}
        class="mono"
        spellcheck={false}
        autocomplete="off"
        placeholder={placeholder ?? 'level:error worker:shop* user_id=42 "a phrase" -word'}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          complete(event.currentTarget.value, event.currentTarget.selectionStart ?? 0);
        }}
        onKeyDown={onKeyDown}
        onBlur={close}
      />
      <ul id="query-choices" role="listbox" aria-label="Completions" hidden={!list.length}>
        {list.map((choice, n) => (
          <li
            key={choice.text}
            id={`choice-${n}`}
            role="option"
            aria-selected={n === at}
            onMouseDown={(event) => {
              event.preventDefault(); // the field keeps the focus
              take(choice);
            }}
          >
            <span class="mono">{choice.text}</span>
            <span class="muted">{choice.note}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
