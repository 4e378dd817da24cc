//! Things cut out: boxes with the masks of what is in them.

use paligemma_processor::image::RgbImage;
use paligemma_processor::{Bitmap, CODES, Detection, SoftMask, Tokenizer, detection_spans};

use crate::detection::kept;
use crate::tasks::{named_things, segmentation_prompt};
use crate::{Answer, DetectedBox, DetectionOptions, Error, Items, PaliGemma, Request, Scene};

/// A thing and its pixels in the original picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its label, its box, and how sure the model was of the box.
    pub found: DetectedBox,
    /// Its pixels.
    pub mask: Bitmap,
    /// What the pixels were decided by, within the box.
    pub soft: SoftMask,
}

/// What was cut out, and the answer that says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmented {
    /// The things, in the order of the answer.
    pub segments: Vec<Segment>,
    /// The answer.
    pub answer: Answer,
}

impl DetectionOptions {
    /// The request for the masks of `things`.
    ///
    /// # Errors
    /// If nothing is named, or a name cannot be a label where answers are constrained.
    pub fn segmentation_request(
        &self,
        scene: Scene,
        things: &[impl AsRef<str>],
        tokenizer: &Tokenizer,
    ) -> Result<Request, Error> {
        self.request_of(scene, segmentation_prompt(things)?, || Items::masks(tokenizer, things))
    }
}

impl PaliGemma {
    /// The named things that are in the picture, cut out.
    ///
    /// # Errors
    /// As [`PaliGemma::segment_with`].
    pub fn segment(
        &self,
        picture: &RgbImage,
        things: &[impl AsRef<str>],
    ) -> Result<Vec<Segment>, Error> {
        let scene = self.encode(std::slice::from_ref(picture));
        Ok(self.segment_with(&scene, things, &DetectionOptions::default())?.segments)
    }

    /// Cuts `things` out of the one picture of a scene.
    ///
    /// # Errors
    /// As [`PaliGemma::generate`]; and if nothing is named, a name cannot be a label where answers
    /// are constrained, the scene has no picture, or the model has no mask VQ-VAE
    /// ([`PaliGemma::with_masks`]).
    pub fn segment_with(
        &self,
        scene: &Scene,
        things: &[impl AsRef<str>],
        options: &DetectionOptions,
    ) -> Result<Segmented, Error> {
        self.masks()?;
        let size = *scene.sizes().first().ok_or(Error::Nothing { what: "picture" })?;
        let request = options.segmentation_request(scene.clone(), things, self.tokenizer())?;
        let answer = self.generate(&request)?;
        Ok(Segmented { segments: self.segments(&answer, things, size, options)?, answer })
    }

    /// What an answer to a request for the masks of `things` cuts out of a picture of this size.
    ///
    /// Boxes without a mask are left out. A box without a label is one of the only thing asked for.
    ///
    /// # Errors
    /// If the model has no mask VQ-VAE.
    pub fn segments(
        &self,
        answer: &Answer,
        things: &[impl AsRef<str>],
        size: (u32, u32),
        options: &DetectionOptions,
    ) -> Result<Vec<Segment>, Error> {
        let masks = self.masks()?;
        let mut found = coded(answer, self.tokenizer(), size, options);
        found.retain(|(_, codes)| masks.knows(codes));
        if let [thing] = *named_things(things) {
            for (found, _) in found.iter_mut().filter(|(found, _)| found.label.is_empty()) {
                thing.clone_into(&mut found.label);
            }
        }
        if let Some(max_overlap) = options.max_overlap {
            let kept = kept(&found.iter().map(|(found, _)| found).collect::<Vec<_>>(), max_overlap);
            let mut places = 0..;
            found.retain(|_| places.next().is_some_and(|at| kept.contains(&at)));
        }
        let (boxes, codes): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let segment = |(found, decoded): (DetectedBox, Vec<f32>)| {
            let soft = SoftMask::in_box(&decoded, found.edges(), size);
            Segment { found, mask: soft.bitmap(), soft }
        };
        Ok(boxes.into_iter().zip(masks.decode(&codes)).map(segment).collect())
    }
}

impl PaliGemma {
    /// The masks that written detections have in a picture of this size; none for those without codes,
    /// or with codes that the mask VQ-VAE does not have.
    ///
    /// # Errors
    /// If the model has no mask VQ-VAE.
    pub fn bitmaps(
        &self,
        detections: &[Detection],
        (width, height): (u32, u32),
    ) -> Result<Vec<Option<Bitmap>>, Error> {
        let masks = self.masks()?;
        let known = |detection: &Detection| detection.codes.filter(|codes| masks.knows(codes));
        let codes: Vec<_> = detections.iter().filter_map(known).collect();
        let mut decoded = masks.decode(&codes).into_iter();
        let bitmap = |detection: &Detection| {
            known(detection)?;
            let Detection { x0, y0, x1, y1, .. } = *detection;
            let (across, down) = (width as f32, height as f32);
            let edges = [x0 * across, y0 * down, x1 * across, y1 * down];
            Some(SoftMask::in_box(&decoded.next()?, edges, (width, height)).bitmap())
        };
        Ok(detections.iter().map(bitmap).collect())
    }
}

/// Every box in an answer that has the codes of a mask.
fn coded(
    answer: &Answer,
    tokenizer: &Tokenizer,
    size: (u32, u32),
    options: &DetectionOptions,
) -> Vec<(DetectedBox, [u8; CODES])> {
    let all = DetectionOptions { max_overlap: None, ..*options };
    let boxes = all.boxes(answer, tokenizer, size).into_iter();
    let spans = detection_spans(&answer.token_ids, tokenizer);
    boxes.zip(spans).filter_map(|(found, (detection, _))| Some((found, detection.codes?))).collect()
}
