// A screen without a monitor (Xvfb), on which the bars are drawn: what a program that captures screens is pointed at.
// It speaks the X protocol itself, since nothing else needs a library for it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { bars, barsOf } from './barcode.mjs'

const width = 1280
const height = 720
const drawEveryMs = 8
const black = 0x101010
const grey = 0x606060
const white = 0xf0f0f0

function request(opcode, ...fields) {
  const content = Buffer.concat(fields)
  const head = Buffer.from([opcode, 0, 0, 0])
  head.writeUInt16LE(1 + content.length / 4, 2)
  return Buffer.concat([head, content])
}

const words = (...values) => Buffer.from(Uint32Array.from(values).buffer)
const halves = (...values) => Buffer.from(Uint16Array.from(values).buffer)

// Gives what X needs to know of its screen: the first id that this client may use, and the root window.
function greeting(answer) {
  if (answer[0] !== 1) throw new Error(`X refuses: ${answer.subarray(8, 8 + answer[1])}`)
  const vendor = Math.ceil(answer.readUInt16LE(24) / 4) * 4
  return { base: answer.readUInt32LE(12), root: answer.readUInt32LE(40 + vendor + 8 * answer[29]) }
}

// Gives the name of the display, the server's process, and what stops the drawing.
export async function startScreen() {
  // It looks for a display that is free, and says which when it is ready.
  const choices = ['-displayfd', '3', '-screen', '0', `${width}x${height}x24`, '+extension', 'GLX', '-nolisten', 'tcp', '-noreset']
  const server = spawn('Xvfb', choices, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
  const [number] = await once(server.stdio[3], 'data')
  const display = String(number).trim()
  const socket = connect(`/tmp/.X11-unix/X${display}`)
  await once(socket, 'connect')
  socket.write(Buffer.concat([Buffer.from([0x6c, 0]), halves(11, 0, 0, 0, 0)]))
  let answer = Buffer.alloc(0)
  while (answer.length < 8 || answer.length < 8 + answer.readUInt16LE(6) * 4) {
    const [piece] = await once(socket, 'data')
    answer = Buffer.concat([answer, piece])
  }
  const { base, root } = greeting(answer)
  // Errors and events are of no interest.
  socket.on('data', () => {})
  socket.on('error', () => clearInterval(timer))
  const [window, ...pens] = [0, 1, 2, 3].map((index) => base + index)
  // No window manager has a say in where it is (override-redirect).
  socket.write(request(1, words(window, root), halves(0, 0, width, height, 0, 1), words(0, 0x202, grey, 1)))
  for (const [index, colour] of [black, white, grey].entries()) socket.write(request(55, words(pens[index], window, 4, colour)))
  socket.write(request(8, words(window)))

  const fill = (pen, rectangles) => request(70, words(window, pens[pen]), halves(...rectangles.flat()))
  const cell = width / bars
  let drawn = 0
  let boxAt = 0
  const timer = setInterval(() => {
    const of = [[], []]
    for (const [index, value] of barsOf(Date.now() % 2 ** 36).entries()) of[value].push([index * cell, 0, cell, 64])
    const pieces = [fill(0, of[0]), fill(1, of[1])]
    // Something that moves, so that the encoder has work to do.
    if (drawn % 4 === 0) {
      pieces.push(fill(2, [[boxAt, 240, 128, 360]]))
      boxAt = (drawn * 4) % (width - 128)
      pieces.push(fill(1, [[boxAt, 240, 128, 360]]))
    }
    // Above whatever has opened meanwhile.
    if (drawn % 64 === 0) pieces.push(request(12, words(window), halves(0x40, 0), words(0)))
    socket.write(Buffer.concat(pieces))
    drawn += 1
  }, drawEveryMs)
  const stop = () => {
    clearInterval(timer)
    socket.destroy()
  }
  return { name: `:${display}`, server, stop }
}
