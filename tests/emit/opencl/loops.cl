__kernel __attribute__((reqd_work_group_size(32, 1, 1)))
void loops(__global const char* m0, __global const char* m1, __global const char* m2, __global char* m3, __global char* m4, int rows_, long o0, long o1, long o2, long o3, long o4) {
  __global const float* restrict x_ = (__global const float*)(m0 + o0);
  __global const int* restrict n_ = (__global const int*)(m1 + o1);
  __global const uint* restrict u_ = (__global const uint*)(m2 + o2);
  __global float* restrict y_ = (__global float*)(m3 + o3);
  __global int* restrict m_ = (__global int*)(m4 + o4);
  const int g_ = (int)get_group_id(0);
  const int t_ = (int)get_local_id(0);
  const int i_ = ((g_ * 32) + t_);
  float a_[1];
  a_[0] = 0.0f;
  const int t0 = (t_ + 1);
  for (int k_ = 0; k_ < t0; ++k_) {
    for (int l_ = 2; l_ < 5; ++l_) {
      a_[0] = (a_[0] + (x_[(k_ + l_)] * convert_float(l_)));
    }
  }
  y_[i_] = a_[0];
}
