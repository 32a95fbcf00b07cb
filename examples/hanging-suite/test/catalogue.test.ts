import { once } from 'node:events'
import { expect, test } from 'vitest'
import { Catalogue } from '../src/catalogue.ts'

const source = async () => ['lamp', 'desk']

test('tells a listener when it is ready', async () => {
  const catalogue = new Catalogue()
  const ready = once(catalogue, 'ready')
  await catalogue.load(source)
  await ready
  expect(catalogue.products).toEqual(['lamp', 'desk'])
})

// Hangs: load() has emitted `ready` before anyone listens.
test('is ready after loading', async () => {
  const catalogue = new Catalogue()
  await catalogue.load(source)
  await once(catalogue, 'ready')
  expect(catalogue.products).toHaveLength(2)
})
