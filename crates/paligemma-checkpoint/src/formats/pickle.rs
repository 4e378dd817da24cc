//! What a pickle says, as plain data: nothing in it is called, whatever it asks for.
//!
//! Format: `pickletools` of Python's standard library; the instructions are those that pickles of
//! tensors consist of, up to protocol 5.

use std::collections::HashMap;
use std::fmt;

/// Why a pickle cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PickleProblem {
    /// It ends before its last instruction, or an instruction takes what is not there.
    Broken,
    /// An instruction that no pickle of tensors has.
    Instruction(u8),
}

impl fmt::Display for PickleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("is cut short or damaged; fetch it again"),
            Self::Instruction(code) => {
                write!(f, "has the instruction {code:#04x}, which no file of weights needs")
            }
        }
    }
}

/// The place of a value in [`Values`].
pub(crate) type Place = usize;

/// What a pickle holds. Values name others by their places, so that no depth is too deep.
#[derive(Debug)]
pub(crate) enum Value {
    /// Neither a number nor anything below.
    Other,
    Integer(i64),
    Text(String),
    Tuple(Vec<Place>),
    List(Vec<Place>),
    /// Keys and values in the order in which they came.
    Dictionary(Vec<[Place; 2]>),
    /// A class or function, its module before it: `torch FloatStorage`.
    Name(String),
    /// What the reader of the pickle has elsewhere.
    Persistent(Place),
    /// What a function would make of its arguments.
    Made {
        by: Place,
        of: Place,
    },
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(crate) struct Values {
    all: Vec<Value>,
}

impl Values {
    /// Reads a pickle: its values, and the place of the one that it stands for.
    pub(crate) fn read(pickle: &[u8]) -> Result<(Self, Place), PickleProblem> {
        let mut machine = Machine { rest: pickle, ..Machine::default() };
        loop {
            if let Some(result) = machine.step()? {
                return Ok((machine.values, result));
            }
        }
    }

    pub(crate) fn get(&self, place: Place) -> &Value {
        &self.all[place]
    }

    fn add(&mut self, value: Value) -> Place {
        self.all.push(value);
        self.all.len() - 1
    }
}

/// The machine for which a pickle is the program.
#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    values: Values,
    stack: Vec<Place>,
    /// Lengths of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Place>,
}

use PickleProblem::{Broken, Instruction};

impl<'a> Machine<'a> {
    /// Carries out an instruction; gives the result after the last.
    fn step(&mut self) -> Result<Option<Place>, PickleProblem> {
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            code => match self.constant(code)? {
                Some(value) => self.push(value),
                None => self.arrange(code)?,
            },
        }
        Ok(None)
    }

    /// The value that an instruction holds itself; none if it works on the stack.
    fn constant(&mut self, code: u8) -> Result<Option<Value>, PickleProblem> {
        let value = match code {
            b'N' | 0x88 | 0x89 => Value::Other,
            b'K' => Value::Integer(self.byte()?.into()),
            b'M' => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            0x8a => Value::Integer(self.long()?),
            b'G' => self.array::<8>().map(|_| Value::Other)?,
            b'X' => Value::Text(self.text_of_u32()?),
            0x8c | b'U' => {
                let length = self.byte()?.into();
                Value::Text(self.text(length)?)
            }
            b'c' => {
                let module = self.line()?;
                Value::Name(format!("{module} {}", self.line()?))
            }
            b')' => Value::Tuple(Vec::new()),
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dictionary(Vec::new()),
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    /// Instructions that move or join what is on the stack.
    fn arrange(&mut self, code: u8) -> Result<(), PickleProblem> {
        match code {
            // Protocol and frame.
            0x80 => drop(self.byte()?),
            0x95 => drop(self.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b't' => {
                let items = self.marked()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.push(Value::Tuple(items));
            }
            b'q' | b'r' | 0x94 => {
                let key = match code {
                    b'q' => self.byte()?.into(),
                    b'r' => u32::from_le_bytes(self.array()?),
                    _ => self.memo.len() as u32,
                };
                let top = *self.stack.last().ok_or(Broken)?;
                self.memo.insert(key, top);
            }
            b'h' | b'j' => {
                let key = match code {
                    b'h' => self.byte()?.into(),
                    _ => u32::from_le_bytes(self.array()?),
                };
                self.stack.push(*self.memo.get(&key).ok_or(Broken)?);
            }
            b's' | b'u' | b'a' | b'e' | b'b' => self.extend(code)?,
            0x93 | b'Q' | b'R' | 0x81 => self.make(code)?,
            _ => return Err(Instruction(code)),
        }
        Ok(())
    }

    /// Puts values into the container under them; an object's own state is of no account.
    fn extend(&mut self, code: u8) -> Result<(), PickleProblem> {
        let items = match code {
            b'u' | b'e' => self.marked()?,
            b's' => self.last(2)?,
            _ => self.last(1)?,
        };
        let top = *self.stack.last().ok_or(Broken)?;
        match (code, &mut self.values.all[top]) {
            (b'b', _) => {}
            (b's' | b'u', Value::Dictionary(all)) => {
                let (pairs, []) = items.as_chunks() else { return Err(Broken) };
                all.extend(pairs);
            }
            (b'a' | b'e', Value::List(all)) => all.extend(items),
            _ => return Err(Broken),
        }
        Ok(())
    }

    /// Values that stand for what something else would make of others.
    fn make(&mut self, code: u8) -> Result<(), PickleProblem> {
        if code == b'Q' {
            let of = self.pop()?;
            self.push(Value::Persistent(of));
            return Ok(());
        }
        let [first, second] = self.last(2)?[..] else { return Err(Broken) };
        let value = match (code, self.values.get(first), self.values.get(second)) {
            (0x93, Value::Text(module), Value::Text(name)) => {
                Value::Name(format!("{module} {name}"))
            }
            (0x93, ..) => return Err(Broken),
            // A new one is filled like a plain dictionary.
            (_, Value::Name(name), Value::Tuple(of))
                if name == "collections OrderedDict" && of.is_empty() =>
            {
                Value::Dictionary(Vec::new())
            }
            _ => Value::Made { by: first, of: second },
        };
        self.push(value);
        Ok(())
    }

    fn push(&mut self, value: Value) {
        let place = self.values.add(value);
        self.stack.push(place);
    }

    fn pop(&mut self) -> Result<Place, PickleProblem> {
        // What lies below a mark belongs to it.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor { Err(Broken) } else { self.stack.pop().ok_or(Broken) }
    }

    fn last(&mut self, count: usize) -> Result<Vec<Place>, PickleProblem> {
        let start = self.stack.len().checked_sub(count).ok_or(Broken)?;
        Ok(self.stack.split_off(start))
    }

    fn marked(&mut self) -> Result<Vec<Place>, PickleProblem> {
        let start = self.marks.pop().filter(|start| *start <= self.stack.len()).ok_or(Broken)?;
        Ok(self.stack.split_off(start))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PickleProblem> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Broken)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleProblem> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleProblem> {
        self.take(N)?.try_into().map_err(|_| Broken)
    }

    /// An integer of as many bytes as the first says, the sign in the last.
    fn long(&mut self) -> Result<i64, PickleProblem> {
        let length = self.byte()?.into();
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole.get_mut(..length).ok_or(Broken)?.copy_from_slice(bytes);
        Ok(i64::from_le_bytes(whole))
    }

    fn text_of_u32(&mut self) -> Result<String, PickleProblem> {
        let length = u32::from_le_bytes(self.array()?);
        self.text(length as usize)
    }

    fn text(&mut self, length: usize) -> Result<String, PickleProblem> {
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| Broken)
    }

    fn line(&mut self) -> Result<String, PickleProblem> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or(Broken)?;
        let line = self.text(end)?;
        self.take(1)?;
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps({'a': (1, -2, 300), 'b': [None, 70000]}, protocol=2)`.
    const PLAIN: &[u8] = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xffM,\x01\x87q\
        \x02X\x01\x00\x00\x00bq\x03]q\x04(NJp\x11\x01\x00eu.";

    #[test]
    fn a_dictionary_is_read_with_all_that_is_in_it() {
        let (values, top) = Values::read(PLAIN).unwrap();
        let Value::Dictionary(pairs) = values.get(top) else { panic!("no dictionary") };
        let [[a, numbers], [_, list]] = pairs[..] else { panic!("not two") };
        assert!(matches!(values.get(a), Value::Text(text) if text == "a"));
        let Value::Tuple(numbers) = values.get(numbers) else { panic!("no tuple") };
        let integers: Vec<i64> = numbers
            .iter()
            .map(|place| match values.get(*place) {
                Value::Integer(integer) => *integer,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(integers, [1, -2, 300]);
        let Value::List(items) = values.get(list) else { panic!("no list") };
        assert!(matches!(values.get(items[0]), Value::Other));
        assert!(matches!(values.get(items[1]), Value::Integer(70_000)));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_data() {
        for end in 0..PLAIN.len() {
            assert_eq!(Values::read(&PLAIN[..end]).unwrap_err(), Broken, "{end}");
        }
        for place in 0..PLAIN.len() {
            for byte in 0..=255 {
                let mut changed = PLAIN.to_vec();
                changed[place] = byte;
                // Whatever it says, it is read or refused.
                drop(Values::read(&changed));
            }
        }
    }

    #[test]
    fn no_depth_is_too_deep_and_nothing_is_called() {
        let deep = [&b")"[..], &vec![0x85; 1 << 20], b"."].concat();
        assert!(Values::read(&deep).is_ok());
        let (values, top) = Values::read(b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R.").unwrap();
        let Value::Made { by, .. } = values.get(top) else { panic!("not made") };
        assert!(matches!(values.get(*by), Value::Name(name) if name == "os system"));
        assert_eq!(Values::read(b"\xff").unwrap_err(), Instruction(0xff));
    }
}
