//! LEB128 numbers, in a buffer that mostly needs no memory of its own. The packed form of cells and
//! reservations uses it.

use smallvec::SmallVec;

/// The size that nearly every record fits in.
const USUAL_BYTES: usize = 64;

/// The largest size of a number, in bytes: 64 bits, seven in each byte.
const MAX_BYTES: usize = 10;

/// A record that is being written.
pub(crate) type Record = SmallVec<[u8; USUAL_BYTES]>;

pub(crate) fn write(record: &mut Record, mut number: u64) {
    let mut bytes = [0; MAX_BYTES];
    let mut count = 0;
    while number >= 0x80 {
        bytes[count] = number as u8 | 0x80;
        number >>= 7;
        count += 1;
    }
    bytes[count] = number as u8;
    record.extend_from_slice(&bytes[..=count]);
}

pub(crate) fn read(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let Some((byte, behind)) = rest.split_first() else {
            break;
        };
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    number
}
