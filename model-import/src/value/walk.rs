//! Walks row-major numbers along the axes of a shape.

/// Row-major steps from an index of each axis to the next, in numbers.
pub(super) fn steps(shape: &[usize]) -> Vec<isize> {
    let mut steps = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        steps[axis] = steps[axis + 1] * shape[axis + 1] as isize;
    }
    steps
}

/// Offsets in row-major order over `shape`, with a step for each axis.
pub(super) struct Walk<'a> {
    shape: &'a [usize],
    steps: &'a [isize],
    index: Vec<usize>,
    place: isize,
    left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(shape: &'a [usize], start: usize, steps: &'a [isize]) -> Self {
        let left = shape.iter().product();
        Self { shape, steps, index: vec![0; shape.len()], place: start as isize, left }
    }
}

impl Iterator for Walk<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place as usize;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            self.place += self.steps[axis];
            if self.index[axis] < self.shape[axis] {
                break;
            }
            self.place -= self.steps[axis] * self.shape[axis] as isize;
            self.index[axis] = 0;
        }
        Some(place)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
