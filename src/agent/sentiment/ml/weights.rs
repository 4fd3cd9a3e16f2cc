//! A model's weights from `model.safetensors`: each taken by name and shape, none left over.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{
    DType, Device, Module, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor},
    safetensors::BufferedSafetensors,
};

use super::ModelError;

/// What checkpoints of classifiers carry along and no classifier reads.
const IGNORED: &[&str] =
    &["roberta.embeddings.position_ids", "roberta.pooler.dense.bias", "roberta.pooler.dense.weight"];

/// An open file of weights.
pub(super) struct Weights {
    path: PathBuf,
    file: BufferedSafetensors,
    taken: HashSet<String>,
    quantized: bool,
}

impl Weights {
    /// Reads the file. With `quantized`, matrices are kept as Q8_0: blocks of 32 numbers of 8 bits with one scale.
    pub fn read(path: &Path, quantized: bool) -> Result<Self, ModelError> {
        let fail = |message: String| ModelError::File { path: path.to_owned(), message };
        let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
        let file = BufferedSafetensors::new(bytes).map_err(|error| fail(error.to_string()))?;
        Ok(Weights { path: path.to_owned(), file, taken: HashSet::new(), quantized })
    }

    /// A tensor of that shape, as 32-bit floats.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let Ok(view) = self.file.get(name) else {
            return Err(ModelError::Missing { path: self.path.clone(), tensor: name.to_owned() });
        };
        if view.shape() != shape {
            return Err(ModelError::Shape {
                path: self.path.clone(),
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                found: view.shape().to_vec(),
            });
        }
        let loaded = self.file.load(name, &Device::Cpu).and_then(|tensor| tensor.to_dtype(DType::F32));
        self.taken.insert(name.to_owned());
        loaded.map_err(|error| ModelError::File {
            path: self.path.clone(),
            message: format!("tensor \"{name}\": {error}"),
        })
    }

    /// A linear layer `name.weight`, `name.bias`.
    pub fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, ModelError> {
        let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.tensor(&format!("{name}.bias"), &[outputs])?;
        let weight = match self.quantized && inputs.is_multiple_of(GgmlDType::Q8_0.block_size()) {
            true => QTensor::quantize(&weight, GgmlDType::Q8_0).and_then(QMatMul::from_qtensor).map(Matrix::Eight),
            false => weight.t().map(Matrix::Full),
        };
        let weight = weight.map_err(|error| ModelError::Compute(error.to_string()))?;
        Ok(Linear { weight, bias })
    }

    /// Says which tensor nobody asked for.
    pub fn finish(self) -> Result<(), ModelError> {
        let mut names: Vec<String> = self.file.tensors().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        match names.into_iter().find(|name| !self.taken.contains(name) && !IGNORED.contains(&name.as_str())) {
            Some(tensor) => Err(ModelError::Foreign { path: self.path, tensor }),
            None => Ok(()),
        }
    }
}

enum Matrix {
    /// Transposed: inputs × outputs.
    Full(Tensor),
    Eight(QMatMul),
}

/// `x W^T + b`.
pub(super) struct Linear {
    weight: Matrix,
    bias: Tensor,
}

impl Linear {
    /// Of rows × inputs: rows × outputs.
    pub fn apply(&self, rows: &Tensor) -> candle_core::Result<Tensor> {
        let product = match &self.weight {
            Matrix::Full(weight) => rows.matmul(weight)?,
            Matrix::Eight(weight) => weight.forward(rows)?,
        };
        product.broadcast_add(&self.bias)
    }
}
