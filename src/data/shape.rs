//! How the numbers of an example lie in a picture. Pixel by pixel, the colours of one beside each other.
use serde::{Deserialize, Serialize};

/// Height, width and colours of a picture. In JSON `[height, width]`, of a coloured one `[height, width, 3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "List", into = "List")]
pub struct Shape {
    pub height: usize,
    pub width: usize,
    /// 1: grey. 3: red, green, blue.
    pub channels: usize,
}

impl Shape {
    /// Of the array that holds all examples, where its dimensions are those of pictures; the colours come last.
    pub(super) fn of(dims: &[u64]) -> Option<Shape> {
        let (&[_, height, width] | &[_, height, width, 1 | 3]) = dims else { return None };
        let channels = dims.get(3).map_or(1, |&c| c as usize);
        Some(Shape { height: height as usize, width: width as usize, channels })
    }

    /// How many numbers a picture has. Saturates, for a file may say anything.
    pub fn numbers(&self) -> usize {
        self.height.saturating_mul(self.width).saturating_mul(self.channels)
    }
}

/// Grey: (height, width).
impl From<(usize, usize)> for Shape {
    fn from((height, width): (usize, usize)) -> Shape {
        Shape { height, width, channels: 1 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum List {
    Grey([usize; 2]),
    Coloured([usize; 3]),
}

impl From<List> for Shape {
    fn from(list: List) -> Shape {
        match list {
            List::Grey([height, width]) => (height, width).into(),
            List::Coloured([height, width, channels]) => Shape { height, width, channels },
        }
    }
}

impl From<Shape> for List {
    fn from(Shape { height, width, channels }: Shape) -> List {
        match channels {
            1 => List::Grey([height, width]),
            _ => List::Coloured([height, width, channels]),
        }
    }
}
