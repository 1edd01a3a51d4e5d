// The editor itself, loaded only where it is needed.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { javascript } from '@codemirror/lang-javascript';
import { json } from '@codemirror/lang-json';
import { bracketMatching, foldGutter, foldKeymap, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search';
import { EditorState, StateEffect, StateField, type Extension } from '@codemirror/state';
import { Decoration, type DecorationSet, drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from '@codemirror/view';
import { tags as t } from '@lezer/highlight';

export interface CodeOptions {
  text: string;
  /** Its ending chooses the language. */
  name: string;
  label: string;
  readOnly: boolean;
  changed(text: string): void;
  run?(): void;
}

const theme = EditorView.theme({
  '&': { height: '100%', backgroundColor: 'transparent', color: 'var(--text)', fontSize: '12.5px' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-content': { caretColor: 'var(--accent)' },
  '.cm-cursor': { borderLeftColor: 'var(--accent)', borderLeftWidth: '2px' },
  '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--muted)', border: 'none' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--accent) 7%, transparent)' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 25%, transparent)',
  },
  '.cm-selectionMatch': { backgroundColor: 'color-mix(in srgb, var(--warn) 25%, transparent)' },
  '.cm-matchingBracket': { backgroundColor: 'color-mix(in srgb, var(--accent) 22%, transparent)', color: 'inherit' },
  '.cm-tooltip, .cm-panels': { backgroundColor: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--line-strong)' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-textfield': { backgroundColor: 'var(--ground)', border: '1px solid var(--line-strong)' },
  '.cm-button': { backgroundImage: 'none', backgroundColor: 'var(--hover)', border: '1px solid var(--line-strong)' },
  '.cm-here': { backgroundColor: 'var(--error-soft)', boxShadow: 'inset 3px 0 var(--error)' },
});

const colours = HighlightStyle.define([
  { tag: [t.keyword, t.modifier, t.operatorKeyword], color: 'var(--violet)' },
  { tag: [t.string, t.special(t.string), t.regexp], color: 'var(--good)' },
  { tag: [t.number, t.bool, t.null], color: 'var(--warn)' },
  { tag: [t.comment], color: 'var(--muted)', fontStyle: 'italic' },
  { tag: [t.function(t.variableName), t.function(t.propertyName)], color: 'var(--info)' },
  { tag: [t.propertyName, t.definition(t.variableName)], color: 'var(--text)' },
  { tag: t.invalid, color: 'var(--error)' },
]);

const point = StateEffect.define<number | null>();
/** The line that somebody was sent to. */
const pointed = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(now, transaction) {
    for (const effect of transaction.effects)
      if (effect.is(point)) return effect.value === null ? Decoration.none : Decoration.set(Decoration.line({ class: 'cm-here' }).range(effect.value));
    return transaction.docChanged ? Decoration.none : now;
  },
  provide: (field) => EditorView.decorations.from(field),
});

function language(name: string): Extension {
  return /\.[mc]?js$/.test(name) ? javascript() : name.endsWith('.json') ? json() : [];
}

export class Code {
  readonly view: EditorView;
  #options: CodeOptions;
  /** Texts that were told and have not come back yet: a drawing may be older than what is typed meanwhile. */
  #told: string[] = [];

  /** In a shadow root CodeMirror needs no style element, which the page's policy forbids. */
  constructor(root: ShadowRoot, options: CodeOptions) {
    this.#options = options;
    this.view = new EditorView({ root, parent: root, state: this.#state(options) });
  }

  #state(options: CodeOptions): EditorState {
    const run = keymap.of([{ key: 'Mod-Enter', run: () => (this.#options.run?.(), true) }]);
    return EditorState.create({
      doc: options.text,
      extensions: [
        run,
        lineNumbers(),
        foldGutter(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(),
        highlightActiveLine(),
        highlightSelectionMatches(),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...completionKeymap, indentWithTab]),
        language(options.name),
        EditorState.readOnly.of(options.readOnly),
        EditorView.contentAttributes.of({ 'aria-label': options.label, tabindex: '0' }),
        EditorView.updateListener.of((update) => update.docChanged && this.#tell(update.state.doc.toString())),
        pointed,
        theme,
        syntaxHighlighting(colours),
      ],
    });
  }

  #tell(text: string): void {
    this.#told.push(text);
    this.#options.changed(text);
  }

  /** Show another file, or other text of the same one. */
  show(options: CodeOptions): void {
    const before = this.#options;
    this.#options = options;
    const other = before.name !== options.name || before.label !== options.label || before.readOnly !== options.readOnly;
    const own = this.#told.lastIndexOf(options.text);
    if (other) this.#told = [];
    else if (own >= 0 || options.text === before.text) return void this.#told.splice(0, own);
    // A state of its own: going back with Ctrl+Z must not lead into another file's text.
    if (other || options.text !== this.view.state.doc.toString()) this.view.setState(this.#state(options));
  }

  /** Go to a line and column, both from 1. */
  reveal(line: number, column: number): void {
    const at = this.view.state.doc.line(Math.min(Math.max(1, line), this.view.state.doc.lines));
    const position = Math.min(at.from + Math.max(0, column - 1), at.to);
    this.view.dispatch({
      selection: { anchor: position },
      effects: [point.of(at.from), EditorView.scrollIntoView(position, { y: 'center' })],
    });
    this.view.focus();
  }
}
