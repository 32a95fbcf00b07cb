/** Tree and text marks, in a form for UTF-8 streams and one for the others. */
export interface Marks {
  branch: string
  last: string
  pipe: string
  gap: string
  /** Before the number of folded frames. */
  fold: string
  /** Between titles. */
  title: string
  ascii: boolean
}

export const UNICODE: Marks = {
  branch: '├─ ',
  last: '└─ ',
  pipe: '│  ',
  gap: '   ',
  fold: '…',
  title: ' › ',
  ascii: false,
}

export const ASCII: Marks = {
  branch: '|- ',
  last: '`- ',
  pipe: '|  ',
  gap: '   ',
  fold: '...',
  title: ' > ',
  ascii: true,
}
