var<private> mlc_nan: u32 = 0x7FC00000u;
var<private> mlc_infinity: u32 = 0x7F800000u;
var<workgroup> a_: array<f32, 32>;
var<workgroup> b_: array<vec4<f32>, 8>;
@group(0) @binding(0) var<storage, read_write> x_: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> n_: array<i32>;
@group(0) @binding(2) var<storage, read_write> u_: array<u32>;
@group(0) @binding(3) var<storage, read_write> y_: array<f32>;
@group(0) @binding(4) var<storage, read_write> m_: array<i32>;
struct Dims { rows_: i32 }
@group(0) @binding(5) var<uniform> dims_at: Dims;
@compute @workgroup_size(32)
fn shared_memory(@builtin(workgroup_id) group_at: vec3<u32>, @builtin(local_invocation_index) thread_at: u32) {
  let rows_: i32 = dims_at.rows_;
  let g_: i32 = i32(group_at.x + group_at.y * 32768u);
  if (g_ >= 2i) { return; }
  let t_: i32 = i32(thread_at);
  let i_: i32 = ((g_ * 32i) + t_);
  let wide_r0_: vec4<f32> = x_[(i_ >> u32(2i))];
  let odd_r1_: bool = ((i_ & 1i) != 0i);
  a_[t_] = select(select(wide_r0_.x, wide_r0_.y, odd_r1_), select(wide_r0_.z, wide_r0_.w, odd_r1_), ((i_ & 2i) != 0i));
  if ((t_ < 8i)) {
    b_[t_] = x_[t_];
  }
  storageBarrier(); workgroupBarrier();
  let t0: vec4<f32> = b_[(t_ >> u32(2i))];
  y_[i_] = (a_[(31i - t_)] + t0.z);
}
