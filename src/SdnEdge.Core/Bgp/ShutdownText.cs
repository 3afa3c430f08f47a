using System.Text;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// The text with which an operator says why a session is shut down or reset (RFC 9003, the successor of RFC 8203).
/// <code>
/// | length (1) | UTF-8 text, at most 255 octets |
/// </code>
/// </summary>
public static class ShutdownText
{
    /// <summary>Most octets of a text.</summary>
    public const int MaxBytes = 255;

    /// <summary>The data of a NOTIFICATION (cease/2 or cease/4). A longer text is cut off between two characters; null or empty gives no
    /// data.</summary>
    public static byte[] Write(string? text)
    {
        if (string.IsNullOrEmpty(text)) return [];
        var data = new byte[1 + MaxBytes];
        int used = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (used + rune.Utf8SequenceLength > MaxBytes) break;
            used += rune.EncodeToUtf8(data.AsSpan(1 + used));
        }

        data[0] = (byte)used;
        return data[..(1 + used)];
    }

    /// <summary>The text in a NOTIFICATION's data; null when there is none that is whole and valid UTF-8. Control characters become blanks:
    /// it is shown on terminals and in logs.</summary>
    public static string? Read(ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty || data[0] == 0 || data.Length < 1 + data[0]) return null;
        ReadOnlySpan<byte> bytes = data.Slice(1, data[0]);
        if (!System.Text.Unicode.Utf8.IsValid(bytes)) return null;
        return string.Create(Encoding.UTF8.GetCharCount(bytes), bytes, static (text, from) =>
        {
            Encoding.UTF8.GetChars(from, text);
            for (int i = 0; i < text.Length; i++)
            {
                if (char.IsControl(text[i]) || char.GetUnicodeCategory(text[i]) is System.Globalization.UnicodeCategory.Format) text[i] =
                    ' ';
            }
        });
    }
}
