//! What is sent: JSON, and bytes behind it, to an image and to how its answer is wanted.
//!
//! Read on an inference thread. Nothing that a request says of itself is believed before it is
//! compared with what came: lengths, shapes, sizes.

use warp::http::HeaderMap;

use picture::BitDepth;

use super::Input;
use super::answer::{AnswerForm, HEADER_LENGTH, Wanted};
use super::data::{Found, is_nested_as};
use super::document::{Document, RequestParameters, SentTensor};
use crate::app::{Colour, Image, Worker};
use crate::body::Body;
use crate::config::Thresholds;
use crate::error::{Large, RequestError, excerpt};
use crate::http::json::{self, Detached, Only};
use crate::http::negotiate::check_compression;

/// Longest `id`: it is held until the answer is sent. Clients write UUIDs.
const MAX_ID_BYTES: usize = 1024;

/// A request as it will be computed.
#[derive(Debug)]
pub(super) struct InferenceRequest {
    pub(super) image: Image,
    pub(super) thresholds: Thresholds,
    pub(super) answer: AnswerForm,
}

/// How many bytes of the body are JSON, where that is not all of them.
pub(super) fn json_length(headers: &HeaderMap) -> Result<Option<usize>, RequestError> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match length.and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => Err(bad("Inference-Header-Content-Length is no number of bytes")),
    }
}

/// Reads a request to a model that takes `input`.
pub(super) fn read(
    input: Input,
    mut body: Body,
    json_length: Option<usize>,
    defaults: Thresholds,
    worker: &Worker<'_>,
) -> Result<InferenceRequest, RequestError> {
    let whole = body.len();
    let length = json_length.unwrap_or(whole);
    if length > whole {
        return Err(bad(format!(
            "Inference-Header-Content-Length says that {length} bytes are JSON, and the body has {whole}"
        )));
    }
    let request = match length {
        // Triton's raw binary request: the body is the tensor, and nothing is said about it.
        0 if json_length.is_some() => {
            if input == Input::Pixels {
                return Err(bad("without JSON the size of the image is not known: send its shape"));
            }
            let answer = AnswerForm { id: None, outputs: Wanted::ALL.map(|wanted| (wanted, true)).to_vec() };
            let image = Image::Encoded { bytes: body, depth: None };
            InferenceRequest { image, thresholds: defaults, answer }
        }
        0 => return Err(RequestError::EmptyBody),
        _ => {
            // Given back before decoding asks for more: work that waits holds nothing.
            let reserved = json::reserve(worker, length)?;
            let parsed = Parsed::from_json(input, &body[..length], whole - length, defaults)?;
            let Parsed { tensor, depth, thresholds, answer } = parsed;
            let image = tensor.take(&mut body, length)?;
            drop(reserved);
            let image = match image {
                None => Image::Encoded { bytes: body, depth },
                Some((width, height, colour)) => Image::Pixels { bytes: body, width, height, colour },
            };
            InferenceRequest { image, thresholds, answer }
        }
    };
    let bytes = match &request.image {
        Image::Encoded { bytes, .. } | Image::Pixels { bytes, .. } => bytes,
    };
    let limit = worker.limits.max_image_bytes;
    if bytes.len() > limit {
        return Err(RequestError::TooManyBytes { what: Large::Image, limit });
    }
    if input == Input::Encoded {
        check_compression(bytes)?;
    }
    Ok(request)
}

fn bad(message: impl Into<String>) -> RequestError {
    RequestError::BadInference(message.into())
}

/// What the JSON says.
struct Parsed {
    tensor: Tensor,
    depth: Option<BitDepth>,
    thresholds: Thresholds,
    answer: AnswerForm,
}

/// Where the elements of the input are.
#[derive(Debug)]
enum Elements {
    /// Base64.
    Text(Detached),
    /// Levels that were numbers.
    Levels(Vec<u8>),
    /// The bytes behind the JSON: all of them are this tensor's.
    Behind,
}

/// The input: width, height and colours, where it is not an image file.
#[derive(Debug)]
struct Tensor {
    size: Option<(u32, u32, Colour)>,
    elements: Elements,
}

impl Tensor {
    /// Leaves the elements in `body`, whose first `json` bytes are JSON, and nothing else.
    fn take(self, body: &mut Body, json: usize) -> Result<Option<(u32, u32, Colour)>, RequestError> {
        let part = match self.elements {
            Elements::Text(text) => text.decode(body.bytes_mut()).ok_or_else(|| {
                bad("the image is not base64 in one line (RFC 4648, section 4, without \"data:\" before it): encode it so, \
                     or send it as binary data")
            })?,
            // They are fewer than the characters that they were written in.
            Elements::Levels(levels) => {
                body.bytes_mut()[..levels.len()].copy_from_slice(&levels);
                0..levels.len()
            }
            Elements::Behind if self.size.is_some() => json..body.len(),
            Elements::Behind => {
                let behind = &body[json..];
                let element = behind
                    .split_first_chunk()
                    .filter(|(length, element)| u32::from_le_bytes(**length) as usize == element.len());
                if element.is_none() {
                    return Err(bad(
                        "the binary data of the image is not one element: its length in four bytes, little-endian, \
                         and then the file",
                    ));
                }
                json + size_of::<u32>()..body.len()
            }
        };
        body.keep(part);
        if let Some((width, height, colour)) = self.size {
            // Two sides of 32 bits and three colours are more than 64 bits.
            let wanted = u128::from(width) * u128::from(height) * colour.channels() as u128;
            if body.len() as u128 != wanted {
                return Err(bad(format!("the shape asks for {wanted} bytes, and there are {}", body.len())));
            }
        }
        Ok(self.size)
    }
}

impl Parsed {
    /// `behind` is how many bytes follow the JSON.
    fn from_json(
        input: Input,
        text: &[u8],
        behind: usize,
        defaults: Thresholds,
    ) -> Result<Self, RequestError> {
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(bad(
                "the body is no JSON object: send an inference request, or an image file alone with the header \
                 Inference-Header-Content-Length: 0",
            ));
        }
        let document = json::check_texts(text).and_then(|()| json::parse(text));
        let document: Document<'_> =
            document.map_err(|error| bad(format!("the request is not an inference request: {error}")))?;
        let Document { id, parameters, inputs: Only(sent), outputs } = document;
        if id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
            return Err(bad(format!("the id has more than {MAX_ID_BYTES} bytes")));
        }
        let parameters = parameters.unwrap_or_default();
        let thresholds = parameters.thresholds(defaults)?;
        let depth = parameters.depth()?;

        let expected = input.tensor();
        if (&*sent.name, &*sent.datatype) != (expected.name, expected.datatype) {
            return Err(bad(format!(
                "{} takes the input {:?} of datatype {}, and not {:?} of {:?}; image files go to eye-state, samples \
                 to eye-state-pixels",
                input.model(),
                expected.name,
                expected.datatype,
                excerpt(&sent.name),
                excerpt(&sent.datatype),
            )));
        }
        let size = size(input, &sent.shape.0)?;
        let elements = sent.elements(input, text, behind)?;

        let all_binary = parameters.binary_data_output.unwrap_or(false);
        let asked = outputs.map(|outputs| outputs.0).unwrap_or_default();
        let mut outputs = Vec::with_capacity(Wanted::ALL.len());
        for output in asked {
            let wanted = Wanted::ALL.into_iter().find(|wanted| wanted.metadata().name == output.name);
            let Some(wanted) = wanted.filter(|wanted| outputs.iter().all(|(other, _)| other != wanted))
            else {
                let names = Wanted::ALL.map(|wanted| wanted.metadata().name).join(", ");
                return Err(bad(format!(
                    "there is no output {:?}, or it is named twice; there are {names}",
                    excerpt(&output.name)
                )));
            };
            let parameters = output.parameters.unwrap_or_default();
            if parameters.classification.is_some() {
                return Err(bad("the classification extension is not served: ask for class_ids and scores"));
            }
            if parameters.shared_memory_region.is_some() {
                return Err(bad("shared memory is not served: ask for binary_data"));
            }
            outputs.push((wanted, parameters.binary_data.unwrap_or(all_binary)));
        }
        if outputs.is_empty() {
            outputs = Wanted::ALL.map(|wanted| (wanted, all_binary)).to_vec();
        }
        Ok(Self { tensor: Tensor { size, elements }, depth, thresholds, answer: AnswerForm { id, outputs } })
    }
}

/// Width, height and colours that a shape says, where it is one of samples.
fn size(input: Input, shape: &[u64]) -> Result<Option<(u32, u32, Colour)>, RequestError> {
    if input == Input::Encoded {
        return match shape {
            [1] | [1, 1] => Ok(None),
            _ => Err(bad(format!(
                "the shape of an image file is [1], and not {shape:?}: send one image a request"
            ))),
        };
    }
    let wrong = || {
        bad(format!(
            "the shape of samples is [1, height, width, 1 or 3], and not {shape:?}: send one image a request"
        ))
    };
    let &[1, height, width, channels] = shape else { return Err(wrong()) };
    let colour = match channels {
        1 => Colour::Gray,
        3 => Colour::Rgb,
        _ => return Err(wrong()),
    };
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width @ 1..), Ok(height @ 1..)) => Ok(Some((width, height, colour))),
        _ => Err(wrong()),
    }
}

impl RequestParameters {
    fn thresholds(&self, defaults: Thresholds) -> Result<Thresholds, RequestError> {
        let threshold = |name: &str, value: Option<f32>, default| match value {
            None => Ok(default),
            Some(value) if (0.0..=1.0).contains(&value) => Ok(value),
            Some(value) => Err(bad(format!("the parameter {name} is {value}, and not a number from 0 to 1"))),
        };
        Ok(Thresholds {
            confidence: threshold("confidence_threshold", self.confidence_threshold, defaults.confidence)?,
            iou: threshold("iou_threshold", self.iou_threshold, defaults.iou)?,
        })
    }

    fn depth(&self) -> Result<Option<BitDepth>, RequestError> {
        let depth = self.bit_depth.map(|bits| {
            let depth = BitDepth::new(bits);
            depth.ok_or_else(|| bad(format!("the parameter bit_depth is {bits}, and not 9 to 16")))
        });
        depth.transpose()
    }
}

impl SentTensor<'_> {
    fn elements(self, input: Input, json: &[u8], behind: usize) -> Result<Elements, RequestError> {
        let parameters = self.parameters.unwrap_or_default();
        if parameters.shared_memory_region.is_some() {
            return Err(bad("shared memory is not served: send the data in the body"));
        }
        if parameters.binary_data_size.unwrap_or(0) != behind as u64 {
            return Err(bad(format!(
                "binary_data_size of the input is {}, and {behind} bytes follow the JSON (does \
                 Inference-Header-Content-Length say how long that is?)",
                parameters.binary_data_size.map_or("not there".into(), |size| size.to_string()),
            )));
        }
        let data = match (self.data, parameters.binary_data_size) {
            (None, Some(_)) => return Ok(Elements::Behind),
            (None, None) => return Err(bad("the input has neither data nor binary_data_size")),
            (Some(_), Some(_)) => {
                return Err(bad("the input has both data and binary_data_size: send one of them"));
            }
            (Some(data), None) => data,
        };
        let (lengths, shape) = (data.lengths(), &self.shape.0);
        // The elements of one list are counted later.
        if lengths.len() > 1 && !is_nested_as(&lengths, shape) {
            return Err(bad(format!(
                "the data are lists of {lengths:?} elements, which is not the shape {shape:?}: nest them as the \
                 shape says, or send them in one list"
            )));
        }
        match data.found {
            Some(Found::Text(text)) if input == Input::Encoded => Ok(Elements::Text(text.detach(json))),
            Some(Found::Levels(levels)) if input == Input::Pixels => Ok(Elements::Levels(levels)),
            None if input == Input::Pixels => Ok(Elements::Levels(Vec::new())),
            _ => Err(bad(match input {
                Input::Encoded => "the data of an image file is one text in base64",
                Input::Pixels => "the data of samples are whole numbers from 0 to 255",
            })),
        }
    }
}
