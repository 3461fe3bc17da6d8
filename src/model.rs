//! Config in, layout and tape out. The only file that knows what an encoder is.
use crate::arena::{Layout, View};
use crate::config::{Activation, Binarize, Likelihood, Model, Spread};
use crate::data::Missing;
use crate::tape::{Decoded, Family, Fetch, Goal, Kind, Op, Order, Tape};

/// A parameter by its name in files: a view of the arena, of PyTorch's shape.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    pub view: View,
    /// As files have it: `weight (out, in)`, `bias (out)`.
    pub shape: Vec<usize>,
}

/// Where eps comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    Drawn,
    /// Written into the view `eps` by the caller: to compare with another framework.
    Given,
}

/// Behind the name of an activation: what goes into its nonlinearity, where that is kept.
pub const BEFORE: &str = " before its nonlinearity";

/// A model laid out in memory for a batch of `tape.batch` examples.
#[derive(Clone, Debug)]
pub struct Network {
    pub model: Model,
    pub tape: Tape,
    pub parameters: Vec<Parameter>,
    /// Activations by name, in the order of the forward pass: for messages, and to look at.
    pub activations: Vec<(String, View)>,
    pub x: View,               // (batch, input), of counts apart from what the encoder sees
    pub conditions: [View; 2], // what the encoder and the decoder see: (batch, condition), (batch K, condition)
    pub head: View,            // (batch, 2 latent): [mu | logvar]
    pub eps: View,             // (batch K, latent), empty unless given
    pub z: View,               // (batch K, latent)
    pub ratio: View,           // (batch K, 1): log q(z|x) − log p(z)
    pub kl: View,              // (batch, 1)
    pub nll: View,             // (batch K, 1)
    pub bound: View,           // (batch, 1)
    pub decoded: Decoded,
}

impl Network {
    /// For training: with gradients and moments; shuffled batches.
    pub fn training(model: &Model, batch: usize, binarize: Binarize) -> Network {
        Builder::new(model, Layout::training(), batch).build(Order::Shuffled, binarize, Noise::Drawn)
    }

    /// For everything else: the forward pass alone, examples in order.
    pub fn inference(model: &Model, batch: usize, binarize: Binarize) -> Network {
        Builder::new(model, Layout::inference(), batch).build(Order::Sequential, binarize, Noise::Drawn)
    }

    /// With gradients; examples in order.
    pub fn gradients(model: &Model, batch: usize, binarize: Binarize) -> Network {
        Builder::new(model, Layout::training(), batch).build(Order::Sequential, binarize, Noise::Drawn)
    }

    /// With gradients, and the noise given.
    pub fn case(model: &Model, batch: usize) -> Network {
        Builder::new(model, Layout::training(), batch).build(Order::Sequential, Binarize::None, Noise::Given)
    }

    pub fn layout(&self) -> &Layout {
        &self.tape.layout
    }

    /// The log-variance of Gaussian columns, where it is learned; of a network's the bias.
    pub fn log_variance(&self) -> Option<View> {
        self.learned_of(Likelihood::Gaussian)
    }

    /// The same of the log-dispersion of columns of a negative binomial.
    pub fn log_dispersion(&self) -> Option<View> {
        self.learned_of(Likelihood::NegativeBinomial)
    }

    fn learned_of(&self, likelihood: Likelihood) -> Option<View> {
        match self.model.spread(likelihood) {
            _ if !self.model.has(likelihood) => None,
            Spread::Fixed => None,
            Spread::Learned => self.decoded.learned,
            Spread::Network => self.parameter(&format!("{}.bias", self.model.second_head()?)).map(|bias| bias.view),
        }
    }

    /// The parameter of this name, as `encoder.0.weight`.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.name == name)
    }
}

struct Builder<'a> {
    model: &'a Model,
    batch: usize,
    layout: Layout,
    parameters: Vec<Parameter>,
    activations: Vec<(String, View)>,
}

/// The weight and bias of one linear layer.
#[derive(Clone, Copy)]
struct Layer {
    weight: View,
    bias: View,
}

impl<'a> Builder<'a> {
    fn new(model: &'a Model, layout: Layout, batch: usize) -> Self {
        Builder { model, batch, layout, parameters: vec![], activations: vec![] }
    }

    /// A layer whose outputs are one or two named heads: their weights lie below one another, so that one matrix
    /// product computes both.
    fn layer(&mut self, names: &[&str], out: usize, inputs: usize) -> Layer {
        let layer = Layer {
            weight: self.layout.weight(names.len() * out, inputs),
            bias: self.layout.parameter(1, names.len() * out),
        };
        for (i, name) in names.iter().enumerate() {
            let rows = i * out..(i + 1) * out;
            let (weight, bias) = (layer.weight.slice(rows.clone()), layer.bias.columns(rows));
            self.parameters.push(Parameter { name: format!("{name}.weight"), view: weight, shape: vec![out, inputs] });
            self.parameters.push(Parameter { name: format!("{name}.bias"), view: bias, shape: vec![out] });
        }
        layer
    }

    /// An activation, under the name that messages give it.
    fn value(&mut self, name: &str, rows: usize, cols: usize) -> View {
        let view = self.layout.activation(rows, cols);
        self.activations.push((name.to_string(), view));
        view
    }

    /// y = f(x weightᵀ + bias)
    fn linear(&mut self, name: &str, x: View, layer: Layer, activation: Option<Activation>) -> Op {
        let cols = layer.weight.rows;
        let (a, y) = match activation {
            Some(f) if f.slope_is_of_input() => {
                let a = self.value(&format!("{name}{BEFORE}"), x.rows, cols);
                (a, self.value(name, x.rows, cols))
            }
            _ => {
                let y = self.value(name, x.rows, cols);
                (y, y)
            }
        };
        Op::Linear { y, a, x, weight: layer.weight, bias: layer.bias, activation }
    }

    fn build(mut self, order: Order, binarize: Binarize, noise: Noise) -> Network {
        let m = self.model;
        let (rows, samples, latent) = (self.batch, self.batch * m.samples, m.latent);

        // Parameters, in the order that data flows.
        let mut width = m.columns();
        let mut encoder = vec![];
        for (i, &hidden) in m.hidden.iter().enumerate() {
            encoder.push(self.layer(&[&format!("encoder.{i}")], hidden, width));
            width = hidden;
        }
        let head_layer = self.layer(&["encoder.mu", "encoder.logvar"], latent, width);
        width = latent + m.condition;
        let mut decoder = vec![];
        for (i, &hidden) in m.hidden.iter().rev().enumerate() {
            decoder.push(self.layer(&[&format!("decoder.{i}")], hidden, width));
            width = hidden;
        }
        let heads: Vec<&str> = ["decoder.out"].into_iter().chain(m.second_head()).collect();
        let out_layer = self.layer(&heads, m.input, width);
        let learned = m.learned_spreads().map(|(name, cols)| self.learned(name, cols));

        // Activations and operations.
        let beside = |name: &str| if m.condition > 0 { format!("[{name} | condition]") } else { name.to_string() };
        let family = match m.is_mixed() || m.likelihood == Likelihood::Categorical {
            false => Family::One(Kind::new(m, m.likelihood)),
            true => Family::ByColumn(self.layout.constant(Kind::each(m).into_iter().map(Kind::code).collect())),
        };
        let counts = m.has_counts();
        let apart = counts.then(|| self.value("x", rows, m.input));
        let seen = self.value(&beside(if counts { "log(1 + x)" } else { "x" }), rows, m.columns());
        let x = apart.unwrap_or(seen.columns(0..m.input));
        let mut ops = vec![Op::Gather {
            x,
            fetch: Fetch { missing: m.missing == Missing::Allow, ..Fetch::new(order, binarize) },
        }];
        // The condition lies beside what it goes with, x or z, so that one product takes both: strided views of one
        // matrix. It comes from the data set twice, for each z of an example has a row of its own.
        let with_z = self.layout.activation(samples, latent + m.condition);
        let z = with_z.columns(0..latent);
        let conditions = [seen.columns(m.input..m.columns()), with_z.columns(latent..latent + m.condition)];
        if m.condition > 0 {
            let plain = Fetch { from: m.input, ..Fetch::new(order, Binarize::None) };
            ops.push(Op::Gather { x: conditions[0], fetch: plain });
            ops.push(Op::Gather { x: conditions[1], fetch: Fetch { samples: m.samples, ..plain } });
        }
        let data_ops = 0..ops.len();
        if counts {
            let kinds = if let Family::ByColumn(kinds) = family { Some(kinds) } else { None };
            ops.push(Op::Log1p { y: seen.columns(0..m.input), x, kinds });
        }
        let mut last = seen;
        let chain = |ops: &mut Vec<Op>, last: &mut View, op: Op| {
            if let Op::Linear { y, .. } = op {
                *last = y;
            }
            ops.push(op);
        };
        for (i, &layer) in encoder.iter().enumerate() {
            let op = self.linear(&format!("encoder.{i}"), last, layer, Some(m.activation));
            chain(&mut ops, &mut last, op);
        }
        let op = self.linear("[mu | logvar]", last, head_layer, None);
        chain(&mut ops, &mut last, op);
        let head = last;
        let encoder_ops = data_ops.end..ops.len();

        let kl = self.value("kl", rows, 1);
        let kl_dim = self.value("kl by dimension", 1, latent);
        ops.push(Op::Kl { kl, kl_dim, head });
        let eps = match noise {
            Noise::Given => Some(self.value("eps", samples, latent)),
            Noise::Drawn => None,
        };
        self.activations.push((beside("z"), with_z));
        let ratio = self.value("log q - log p", samples, 1);
        ops.push(Op::Reparam { z, ratio, head, eps });

        let decoder_start = ops.len();
        last = with_z;
        for (i, &layer) in decoder.iter().enumerate() {
            let op = self.linear(&format!("decoder.{i}"), last, layer, Some(m.activation));
            chain(&mut ops, &mut last, op);
        }
        let op = self.linear("decoder.out", last, out_layer, None);
        chain(&mut ops, &mut last, op);
        let variables: Vec<f64> = m.categoricals().iter().flat_map(|v| [v.start as f64, v.end as f64]).collect();
        if !variables.is_empty() {
            ops.push(Op::LogSoftmax { y: last, variables: self.layout.constant(variables) });
        }
        let decoder_ops = decoder_start..ops.len();

        let decoded = Decoded { out: last, family, mean: m.mean, fixed: 2.0 * m.sigma.ln(), learned };
        let nll = self.value("nll", samples, 1);
        if m.is_of_shares() {
            // The slope of a multinomial is in what the layer put out already.
            let pulls = m.likelihood != Likelihood::Multinomial;
            ops.push(Op::LogMeans { y: last.columns(0..m.input), x, pulls });
        }
        ops.push(Op::Nll { nll, decoded, x });
        let likelihood_ops = decoder_start..ops.len();
        let bound = self.value("bound", rows, 1);
        let weight = self.value("sample weights", samples, 1);
        let objective = Goal { objective: m.objective, gradient: m.gradient, free_bits: m.free_bits };
        ops.push(Op::Bound { bound, weight, nll, kl, kl_dim, ratio, objective });

        let tape = Tape {
            ops,
            layout: self.layout,
            data: data_ops,
            encoder: encoder_ops,
            decoder: decoder_ops,
            likelihood: likelihood_ops,
            objective,
            batch: rows,
            x: seen,
            weight,
            kl_dim,
        };
        Network {
            model: m.clone(),
            tape,
            parameters: self.parameters,
            activations: self.activations,
            x,
            conditions,
            head,
            eps: eps.unwrap_or(View { rows: 0, ..z }),
            z,
            ratio,
            kl,
            nll,
            bound,
            decoded,
        }
    }

    /// Log-dispersions that are a parameter: one element, or one per data dimension.
    fn learned(&mut self, name: &str, cols: usize) -> View {
        let view = self.layout.parameter(1, cols);
        self.parameters.push(Parameter { name: name.into(), view, shape: vec![cols] });
        view
    }
}
