import { describe, expect, test } from 'vitest'
import { Stock } from '../src/stock.ts'

describe('stock', () => {
  test('reserves what is there', async () => {
    const stock = new Stock({ lamp: 3 })
    await stock.reserve('lamp', 2)
    expect(stock.free('lamp')).toBe(1)
  })

  test('refuses what is not there', async () => {
    const stock = new Stock({ lamp: 3 })
    await expect(stock.reserve('lamp', 4)).rejects.toThrow('only 3 of lamp left')
  })

  // Hangs: move() holds the lock while it calls reserve(), which waits for the same lock.
  test('moves a reservation to another product', async () => {
    const stock = new Stock({ lamp: 0, desk: 2 })
    await stock.move('lamp', 'desk', 1)
    expect(stock.free('desk')).toBe(1)
  })
})
